"""The simulated hospital: modality, RIS, EHR, PACS, and the phantoms that it images."""
