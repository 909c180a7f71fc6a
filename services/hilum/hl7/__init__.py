"""The grammar of HL7 v2: framing, messages, paths, acknowledgements, composition. No workflow."""
