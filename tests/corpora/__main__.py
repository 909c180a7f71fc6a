"""Make the committed tables and pages of the published messages and images anew; `tools/corpora` runs it.

Prints each difference that no explanation covers, with what was read, and each explanation that covers none.
"""

import asyncio
import logging
import os
import sys
import tempfile
from pathlib import Path

from corpora import dicom_corpus, hl7_corpus
from corpora.comparison import Explanations
from corpora.published import write_rows

_REPOSITORY = Path(__file__).resolve().parents[2]


def main() -> int:
    """0 when every difference is explained, 1 when not, 2 without the published data."""
    shared_data = Path(os.environ.get("HILUM_SHARED", _REPOSITORY.parent / "shared")) / "data"
    if not shared_data.is_dir():
        sys.stderr.write("the published data is absent: set HILUM_SHARED\n")
        return 2
    logging.disable(logging.WARNING)
    faults = 0
    for corpus in (hl7_corpus, dicom_corpus):
        with tempfile.TemporaryDirectory() as folder:
            write_rows(corpus.ANSWERS, asyncio.run(corpus.answered(shared_data, Path(folder))))
        comparisons = corpus.compared(shared_data)
        write_rows(corpus.AGREEMENT, corpus.agreement(comparisons))
        for reader, comparison in comparisons.items():
            lines = Explanations.load(corpus.EXPLANATIONS, reader).faults(comparison)
            faults += len(lines)
            for line in lines:
                sys.stdout.write(f"{reader}: {line}\n")
            for each in comparison.differences:
                if f"not explained: {each.file}: {each.field}" in lines:
                    sys.stdout.write(f"  {each.file} {each.field}\n    Hilum: {each.ours}\n    other: {each.theirs}\n")
        corpus.PAGE.parent.mkdir(exist_ok=True)
        corpus.PAGE.write_text(corpus.page(), encoding="utf-8")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
