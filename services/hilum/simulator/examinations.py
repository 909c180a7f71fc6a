"""What the demonstration sends: phantoms with a known truth, or a folder of real radiographs with their labels."""

import csv
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from hilum.errors import Rejected
from hilum.simulator.messages import orm_o01
from hilum.simulator.orders import Order, example_order
from hilum.simulator.phantoms import Kind, draw
from hilum.simulator.published_orders import Compose
from hilum.simulator.radiographs import radiograph, read_greyscale

PHANTOM_MODEL = "Hilum phantom"  # the demonstration model refuses what was not drawn here
_NEGATIVE = {"normal", "negative", "no", "absent", "false", "0"}


@dataclass(frozen=True)
class Examination:
    """One order and the images that answer it. ``truth``: whether the finding is there; None where nobody knows."""

    order: Order
    images: Callable[[], list[Dataset]]
    truth: bool | None
    note: str = ""
    ordered: bool = True  # the order is sent, not only the images
    reported: bool = False  # a radiologist's final report comes before the images are complete
    compose: Compose = orm_o01  # the RIS's way of writing this order


def phantom_examinations(count: int, began: datetime, seed: int) -> list[Examination]:
    """``count`` phantoms in a row, one in three with a pneumothorax, and a few that must end in a coded reason."""
    chance = random.Random(seed)
    kinds = [kind for kind in Kind if kind is not Kind.CLIPPED]
    examinations = []
    for number in range(count):
        order = example_order(number, began + timedelta(minutes=7 * number))
        truth, kind = number % 3 == 2, kinds[number % len(kinds)]
        examinations.append(_phantom(order, chance.randrange(1 << 30), truth, kind))
    return [*examinations, *_exceptions(count, began, chance)]


def written_by(composers: Sequence[Compose], examinations: list[Examination]) -> list[Examination]:
    """The same examinations, their orders written by each of ``composers`` in turn."""
    return [replace(item, compose=composers[place % len(composers)]) for place, item in enumerate(examinations)]


def _exceptions(number: int, began: datetime, chance: random.Random) -> list[Examination]:
    """What a real day also holds: no images, no order, a wrong name, another view, a report that came first."""
    orders = [example_order(number + extra, began + timedelta(minutes=7 * (number + extra))) for extra in range(5)]
    other_patient = replace(orders[2], patient_id=f"{orders[2].patient_id}X")
    return [
        Examination(orders[0], list, None, "never imaged"),
        replace(_phantom(orders[1], chance.randrange(1 << 30), False, Kind.PLAIN, "no order"), ordered=False),
        replace(
            _phantom(other_patient, chance.randrange(1 << 30), True, Kind.PLAIN, "images name another patient"),
            order=orders[2],
        ),
        _phantom(orders[3], chance.randrange(1 << 30), False, Kind.PLAIN, "lateral view", view="LL"),
        replace(_phantom(orders[4], chance.randrange(1 << 30), True, Kind.PLAIN, "reported first"), reported=True),
    ]


def _phantom(order: Order, seed: int, truth: bool, kind: Kind, note: str = "", *, view: str = "AP") -> Examination:
    def images() -> list[Dataset]:
        phantom = draw(seed, pneumothorax=truth, kind=kind)
        image = radiograph(
            order,
            phantom.pixels,
            order.requested_at,
            bits_stored=phantom.bits_stored,
            photometric=phantom.photometric_interpretation,
            view=view,
            model_name=PHANTOM_MODEL,
        )
        return [image]

    return Examination(order, images, truth, note or kind.value.replace("_", " "))


def radiograph_examinations(folder: Path, labels: Path, limit: int, began: datetime, seed: int) -> list[Examination]:
    """At most ``limit`` labelled files of ``folder`` in a random order, as examinations of children.

    ``labels`` is CSV with the columns file and label; of its two labels one must say that nothing is there. Raises
    `Rejected` (`labels`) for what cannot be read so.
    """
    labelled = read_labels(labels)
    missing = [name for name in labelled if not (folder / name).is_file()]
    if missing:
        raise Rejected("labels", f"{len(missing)} labelled files are not in the folder, {missing[0]} among them")
    chosen = random.Random(seed).sample(sorted(labelled), min(limit, len(labelled)))
    return [
        _real(folder / name, labelled[name], example_order(number, began + timedelta(minutes=2 * number)), number)
        for number, name in enumerate(chosen)
    ]


def read_labels(path: Path) -> dict[str, bool]:
    """File name to whether the finding is there."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            rows = [(row["file"].strip(), row["label"].strip().lower()) for row in csv.DictReader(lines)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Rejected("labels", f"{path.name} cannot be read: {type(error).__name__}") from error
    except (KeyError, AttributeError) as error:
        raise Rejected("labels", f"{path.name} needs the columns file and label in every row") from error
    values = {label for _, label in rows}
    if len(values) != 2 or len(values & _NEGATIVE) != 1:
        raise Rejected("labels", f"{path.name} needs two labels, one of them of {', '.join(sorted(_NEGATIVE))}")
    return {name: label not in _NEGATIVE for name, label in rows}


def _real(path: Path, truth: bool, order: Order, number: int) -> Examination:
    born = date(order.requested_at.year - 2 - number % 4, 1, 15)
    order = replace(order, modality="CR", birth_date=born, reason="Cough and fever")

    def images() -> list[Dataset]:
        return [radiograph(order, np.asarray(read_greyscale(path)), order.requested_at, bits_stored=8)]

    return Examination(order, images, truth, path.name)
