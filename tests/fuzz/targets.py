"""The targets by name, and where their inputs are kept."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
CORPUS = HERE / "corpus"
CRASHES = HERE / "crashes"
_KIB = 1024


@dataclass(frozen=True)
class Target:
    """``max_bytes`` of an input; ``words``, parted by spaces, are what the engine may splice in."""

    name: str
    max_bytes: int
    words: str

    @property
    def dictionary(self) -> str:
        """The file that libFuzzer's ``-dict`` takes."""
        return "".join(f'"{word}"\n' for word in self.words.split())

    @property
    def corpus(self) -> Path:
        return CORPUS / self.name

    @property
    def crashes(self) -> Path:
        """Inputs that once broke a promise, by what they broke; the engine adds those it finds."""
        return CRASHES / self.name

    def load(self) -> Callable[[bytes], None]:
        """Its ``check``. Imports the code under test, so the engine calls this once it instruments imports."""
        check: Callable[[bytes], None] = importlib.import_module(f"fuzz.fuzz_{self.name}").check
        return check


# As libFuzzer's dictionaries write them: backslash and hexadecimal escapes are theirs.
_HL7 = r"""
MSH|^~\\&|  \x0dPID|  \x0dORC|  \x0dOBR|  \x0dOBX|  \x0dIPC|  \x0dMRG|  \x0dZDS|  \x0dMSH|  \x0dPV1|  \x0dNTE|  \x0dTQ1|
ORM^O01  OMI^O23  ORU^R01  ADT^A40  ACK  UNICODE\x20UTF-8  8859/1  BIG-5  ISO\x20IR87  GB\x2018030-2000  |2.5.1  |2.3
\x22\x22  \\X0D\\  \\.br\\  \x0a  \x0d\x0a  \xef\xbb\xbf  ~  &
"""
_PATHS = r"PID-3[1].4.2  [*]  [4=MR]  [4.1=  OBX[3.1=113014]-5  MSH-1  -999  [1]  .1.1"
_TEXTS = r"\\X  \\.sp  \\E\\  20260329023000+0100  \x1b$B  \x83\x36  \x1b(B  .1234"
_YAML = r"""
!!int\x20  !!float\x20  !!bool\x20  !!timestamp\x20  !!null\x20  !!set\x20  !!omap\x20  !!binary\x20
?\x20  -\x20  :\x20
&a\x20  *a  <<:\x20  2026-99-99  1:1:1  .inf  .nan  0x  1e999  {  [  |\x0a  ---\x0a  \x09  ''  \x22\x22  =  0b_  0o
"""
_SITE_FILE = _YAML + r"site:  feeds:  paths:  timezone:  algorithms:  matching:  port:  state:  ris:  ehr:  pacs:"
_PACKAGES = _YAML + r"eligibility:  findings:  engine:  outputs:  at_least  schema:  version:  value:  threshold:"
_POLICIES = r"live  silent  off  package_changed  not_installed  1.0.0-rc.1  chest  head"
_DICOM = r"""
\xfe\xff\x00\xe0  \xfe\xff\x0d\xe0  \xfe\xff\xdd\xe0  \xff\xff\xff\xff  \x00\x00\x00\x00  SQ  UN  UI
OB  OW  PN  DS  IS  LO  AT  \x08\x00\x05\x00  \xe0\x7f\x10\x00  ISO\x202022\x20IR\x2087  ISO_IR\x20192  \x1b$B
"""
_TRANSFER = r"""
\x04\x00\x00\x00  \x05\x00\x00\x00\x00\x04  \x07\x00  \x01\x03  \x01\x02  \x01\x00  \x03\x03  \x00\x01  \x10\x01
\x00\x08
"""
_PIXELS = _DICOM + r"RGB  PALETTE\x20COLOR  MONOCHROME1  YBR_FULL_422  SIGMOID  LINEAR_EXACT  INVERSE"

TARGETS = {
    target.name: target
    for target in (
        Target("framer", 4 * _KIB, r"\x0b  \x1c\x0d  \x1c"),
        Target("messages", 16 * _KIB, _HL7),
        Target("paths", 512, _PATHS),
        Target("texts", 2 * _KIB, _TEXTS),
        Target("site_file", 8 * _KIB, _SITE_FILE),
        Target("packages", 8 * _KIB, _PACKAGES),
        Target("policies", 2 * _KIB, _POLICIES),
        Target("transfer", 8 * _KIB, _TRANSFER),
        Target("outline", 16 * _KIB, _DICOM),
        Target("instances", 64 * _KIB, _DICOM),
        Target("pixels", 64 * _KIB, _PIXELS),
    )
}
