"""The small elements that FHIR resources are built of: codings, identifiers, narrative, bundle entries."""

from datetime import datetime
from html import escape
from typing import Any

from hilum.fhir import systems
from hilum.fhir.systems import token
from hilum.ids import derived_id

Json = dict[str, Any]


def fraction(value: float) -> Json:
    return {"valueQuantity": {"value": round(value, 4), "unit": "1", "system": systems.UCUM, "code": "1"}}


def narrative(text: str) -> Json:
    div = f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{escape(text, quote=False)}</p></div>'
    return {"status": "generated", "div": div}


def identifier(value: str) -> Json:
    return {"system": systems.RESULT_IDENTIFIER, "value": value}


def coding(system: str, code: str, display: str = "") -> Json:
    return {"system": system, "code": code, **({"display": display} if display else {})}


def concept(system: str, code: str, display: str = "") -> Json:
    return {"coding": [coding(system, code, display)]}


def instant(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="milliseconds") if moment is not None else None


def urn(*parts: str) -> str:
    return f"urn:uuid:{derived_id('fhir', *parts)}"


def create(url: str, resource: Json, if_none_exist: str) -> Json:
    """R4 3.1.0.8.1, conditional create."""
    request = {"method": "POST", "url": resource["resourceType"], "ifNoneExist": if_none_exist}
    return {"fullUrl": url, "resource": resource, "request": request}


def put(url: str, resource: Json) -> Json:
    """R4 3.1.0.4.3, conditional update by our own identifier."""
    own = resource["identifier"][0]
    where = f"{resource['resourceType']}?identifier={token(own['system'], own['value'])}"
    return {"fullUrl": url, "resource": resource, "request": {"method": "PUT", "url": where}}


def checked(model: type[Any], content: Json) -> Json:
    """``content`` without its empty members, as the model of the standard accepts it."""
    present = {key: value for key, value in content.items() if value is not None}
    checked: Json = model.model_validate(present).model_dump(mode="json")
    return checked
