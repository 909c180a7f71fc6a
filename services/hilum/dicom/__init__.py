"""DICOM's own grammar: facts, pixels, statuses, a storage SCU. No workflow lives here."""

import logging

from pydicom import config

# The libraries would quote element values, which may identify a patient: a value outside its VR's rules is
# judged where it is used, and their own log lines stay off.
config.settings.reading_validation_mode = config.IGNORE
for library in ("pydicom", "pynetdicom"):
    logging.getLogger(library).setLevel(logging.CRITICAL)
