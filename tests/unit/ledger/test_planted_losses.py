"""Something is lost on its way from one step to the next: reconciliation fails, and names it."""

from datetime import timedelta

import pytest

from scenes.story import ALGORITHM


async def lose(story, statement: str) -> None:
    """What nobody told the ledger might as well have been lost before."""
    await story.store.transact(lambda tx: tx.connection.exec_driver_sql(statement))


async def detail(story, name: str) -> str:
    return next(check.detail for check in (await story.reconcile()).checks if check.name == name)


async def test_a_task_that_was_never_given(story) -> None:
    await story.policy()
    order = await story.order("A1", "CM", "1.2.3")
    await story.image()
    await story.case("tasked", orders=(order,), due_after=timedelta(minutes=10))
    await story.heard()
    assert await story.broken() == {"cases_founded"}
    assert f"case-1 waits for a task of {ALGORITHM}" in await detail(story, "cases_founded")
    await story.task()
    await story.heard()
    assert await story.broken() == set()


async def test_the_task_of_a_rerun_that_was_never_given(story) -> None:
    await story.resulted_case()
    await story.heard()
    rerun = "disposition = 'tasked', revision = 2, result_id = '', due_at = 4000000000000000"
    await lose(story, f"UPDATE case_algorithms SET {rerun}")
    assert await story.broken() == {"cases_founded"}


async def test_a_result_whose_task_and_telling_are_both_lost(story) -> None:
    await story.resulted_case()
    await story.heard()
    await lose(story, "DELETE FROM results")
    await lose(story, "DELETE FROM tasks")
    assert "case-1 names a result" in await detail(story, "cases_founded")
    assert "cases_founded" in await story.broken()


@pytest.mark.parametrize("lost", ["delivery-1", "delivery-2", "delivery-3"])
async def test_the_only_delivery_of_a_result(story, lost: str) -> None:
    for number in (1, 2, 3):
        await story.resulted_case(f"A{number}", f"1.2.{number}", number)
    await story.heard()
    await lose(story, f"DELETE FROM deliveries WHERE delivery_id = '{lost}'")
    assert await story.broken() == {"results_delivered"}
    assert await detail(story, "results_delivered") == (
        f"1 results without a delivery: result result-{lost[-1]}: none at all"
    )


async def test_one_delivery_of_several(story) -> None:
    for number in (1, 2, 3):
        await story.resulted_case(f"A{number}", f"1.2.{number}", number)
        for kind in ("structured_report", "secondary_capture"):
            name, case = f"{kind}-{number}", f"case-{number}"
            await story.delivery("planned", delivery_id=name, kind=kind, destination="pacs", case_id=case)
    await story.heard()
    assert await story.broken() == set()
    await lose(story, "DELETE FROM deliveries WHERE delivery_id = 'secondary_capture-3'")
    assert await detail(story, "results_delivered") == (
        "1 results without a delivery: result result-3: no secondary_capture to pacs"
    )


async def test_a_destination_that_came_later_is_not_expected_of_what_was_before(story) -> None:
    await story.resulted_case()
    await story.resulted_case("A2", "1.2.4", 2)
    await story.delivery("planned", delivery_id="sr-2", kind="structured_report", destination="pacs", case_id="case-2")
    await story.heard()
    assert await story.broken() == set()


@pytest.mark.parametrize(("destinations", "broken"), [((), set()), (("ris", "pacs"), {"results_delivered"})])
async def test_a_destination_is_expected_of_what_comes_later_while_the_site_has_it(
    story, destinations: tuple[str, ...], broken: set[str]
) -> None:
    await story.resulted_case()
    await story.delivery("planned", delivery_id="sr-1", kind="structured_report", destination="pacs")
    await story.resulted_case("A2", "1.2.4", 2)
    await story.heard()
    assert await story.broken(destinations=destinations) == broken


async def test_a_site_that_sends_nowhere_owes_no_delivery(story) -> None:
    await story.resulted_case()
    await story.heard()
    await lose(story, "DELETE FROM deliveries")
    assert await story.broken() == set()
    assert await story.broken(destinations=("ris",)) == {"results_delivered"}


async def test_an_image_that_its_case_did_not_count(story) -> None:
    await story.resulted_case()
    await story.image(number=2)
    await story.heard()
    assert await story.broken() == {"images_in_cases"}
    assert "1.2.3 has 2 images, its case counts 1" in await detail(story, "images_in_cases")


async def test_an_image_whose_file_is_gone(story) -> None:
    await story.resulted_case()
    await story.heard()
    story.objects.delete("instances/1.2.3/1.2.3.1.dcm")
    assert await story.broken() == {"images_stored"}


async def test_an_order_that_no_service_took_up(story) -> None:
    await story.resulted_case()
    await story.message("M-lost")
    await story.heard()
    assert await story.broken() == {"messages_accounted"}
