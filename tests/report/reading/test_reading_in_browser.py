"""The page in headless Chromium, from a file: reading, filters, keys, storage and files."""

import json

import pytest

from teacherlm_jax.storage import files

from .conftest import row, write_run

LONGEST_WINDOW = 60  # rows of the list in the document
DENIED = """Object.defineProperty(window, "localStorage", {
  get() { throw new DOMException("denied", "SecurityError"); } })"""
SAMPLE = '"id": "s-1", "source": "creak", "kind": "cot"'
THIS_PAGE = '{"teacherlm_ratings": 1, "page": "DIGEST"}\n'
AXE_SERIOUS = ("serious", "critical")


@pytest.fixture
def page(two_runs, make_page, open_page):
    return open_page(make_page(*two_runs))


def press(page, keys):
    for key in keys.split():
        page.keyboard.press(key)


def place(page):
    return page.text_content("#place")


def judgements(page):
    return page.evaluate("Object.fromEntries(judgements)")


def kept(page):
    """Return the judgements in the browser's storage, without their times."""
    digest = page.get_attribute("body", "data-digest")
    text = page.evaluate(f"localStorage.getItem('teacherlm-ratings:{digest}')")
    return {index: value[:3] for index, value in json.loads(text or "{}").items()}


def save(page, reader="Anna B."):
    page.keyboard.press("s")
    page.fill("#name", reader)
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    return download.value


def test_question_options_answer_and_both_explanations_are_shown_as_text(page):
    press(page, "j j")
    assert page.text_content("#question") == "Is 1 </script> odd?"
    options = page.locator("#options li").all_text_contents()
    assert options == ["(A)no", "(B)yes ✓ the correct answer"]
    texts = page.locator(".text").all_text_contents()
    assert texts == ["cot 1 by one: <b>it</b> is so.", "cot 1 by two: <b>it</b> is so."]
    facts = page.locator(".facts").all_text_contents()
    assert facts[0].endswith("one · 9 words · 9 tokens · passes all gates")
    assert facts[1].endswith("two · 9 words · 9 tokens · passes all gates")
    assert page.problems == []


def test_a_sample_of_one_run_says_so_and_takes_one_rating(page):
    assert page.locator(".text").nth(1).text_content() == "No explanation by this teacher."
    press(page, "ArrowRight a")
    assert "only one explanation" in page.text_content("#status")
    press(page, "4")
    assert kept(page) == {"0": [4, 0, ""]}
    assert page.text_content("#progress") == "1 of 19 rated"


def test_everything_is_done_by_keyboard(page):
    press(page, "j j")
    assert place(page).startswith("3 of 19")
    press(page, "4 2 a")
    assert kept(page) == {"2": [4, 2, "left"]}, "the frame moves to the other side"
    press(page, "a ArrowLeft 5")
    assert kept(page) == {"2": [5, 2, ""]}, "the same key takes a preference back"
    press(page, "2 t")
    assert kept(page) == {"2": [2, 2, "tie"]}
    press(page, "ArrowDown k ArrowUp")
    assert place(page).startswith("2 of 19")
    press(page, "u")
    assert place(page).startswith("4 of 19"), "the next one without a rating"
    page.keyboard.press("?")
    assert page.is_visible("#help-box")
    press(page, "Escape /")
    page.keyboard.type("by two")
    page.wait_for_selector("#found:text-is('9 of 19')")
    press(page, "Escape j")
    assert place(page).startswith("2 of 9")
    assert page.locator("mark").all_text_contents() == ["by two"]
    assert page.problems == []


def test_it_moves_on_after_a_preference_if_asked(page):
    press(page, "j j m b")
    page.wait_for_selector("#place:has-text('4 of 19')")
    assert kept(page) == {"2": [0, 0, "right"]}


def found(page, **values):
    """Set filters; return the ids and kinds of the rows that pass them."""
    page.click("#clear") if page.is_visible("#clear") else None
    for name, value in values.items():
        field = page.locator(f"#{name}")
        field.fill(value) if name in ("text", "shortest", "longest") else field.select_option(value)
    page.wait_for_timeout(200)
    return page.evaluate(
        "shown.map((index) => sampleOf(index)[0] + ' ' + data.kinds[data.items[index][1]])"
    )


def test_filters(tmp_path, make_page, open_page):
    rows = [
        row(1, "one"),
        row(2, "one", source="ecqa", kinds=("cot", "fundamental")),
        row(3, "one"),
        row(4, "one", question="What about Ärzte?", annotations={}),
        row(5, "one", explanations={"cot": {"teacher": "One two three."}}),
    ]
    page = open_page(make_page(write_run(tmp_path / "run", rows),
                               arguments=("--config.authors=teacher",)))  # fmt: skip
    everything = [*("s-1 cot", "s-2 cot", "s-2 fundamental"), *(f"s-{n} cot" for n in (3, 4, 5))]
    assert found(page) == everything
    assert found(page, source="ecqa") == ["s-2 cot", "s-2 fundamental"]
    assert found(page, kind="fundamentals") == ["s-2 fundamental"]
    assert found(page, gate="passes all") == [*everything[:3], "s-5 cot"]
    assert found(page, gate="fails any") == ["s-3 cot"]
    assert found(page, gate="fails not_copied") == ["s-3 cot"]
    assert found(page, gate="no gates") == ["s-4 cot"]
    assert found(page, longest="3") == ["s-5 cot"]
    assert found(page, shortest="4", source="ecqa") == ["s-2 cot", "s-2 fundamental"]
    assert found(page, text="ÄRZTE") == ["s-4 cot"]
    assert found(page, text="nothing like it") == []
    assert page.is_visible("#empty") and not page.is_visible("#verdict")
    press(page, "Escape j 4 u")
    assert found(page) == everything and kept(page) == {}
    press(page, "Escape 4")
    (rated,) = found(page, rated="rated")
    assert [item for item in everything if item != rated] == found(page, rated="not rated")
    assert page.problems == []


def test_ratings_stay_in_the_browser_under_the_digest_of_the_page(
    two_runs, make_page, open_page, browser
):
    context = browser.new_context()
    path = make_page(*two_runs)
    page = open_page(path, context=context)
    press(page, "j j 5 3 b")
    page.close()
    again = open_page(path, context=context)
    assert place(again).startswith("3 of 19"), "where the reader left"
    assert kept(again) == {"2": [5, 3, "right"]}
    assert again.get_attribute("[data-choice=right]", "aria-pressed") == "true"
    other = open_page(make_page(*reversed(two_runs)), context=context)
    assert judgements(other) == {}
    context.close()


def test_two_tabs_share_their_ratings(two_runs, make_page, open_page, browser):
    context = browser.new_context()
    path = make_page(*two_runs)
    first, second = (open_page(path, context=context) for _ in range(2))
    press(first, "j j 5")
    second.wait_for_selector(".given:has-text('5 · –')")
    press(second, "j j j j 4")
    assert kept(second) == {"2": [5, 0, ""], "4": [4, 0, ""]}
    context.close()


def test_without_storage_a_message_says_so_and_ratings_can_be_saved(two_runs, make_page, open_page):
    page = open_page(make_page(*two_runs), script=DENIED)
    assert "does not keep ratings" in page.text_content("#warning")
    assert page.is_visible("#warning")
    press(page, "j j 5 3 b")
    assert save(page).suggested_filename == "ratings-anna-b.jsonl"


def test_full_storage_is_reported(page):
    page.evaluate(
        "void (Storage.prototype.setItem = function () { throw new DOMException('full') })"
    )
    press(page, "j j 5")
    assert "does not keep ratings" in page.text_content("#warning")


def test_ratings_are_saved_and_loaded_as_jsonl(page, two_runs, make_page, open_page, tmp_path):
    press(page, "j j 5 3 b j j t")
    path = tmp_path / "anna.jsonl"
    save(page).save_as(path)
    first, *rows = [row for _, row in files.read_jsonl(path)]
    assert (first["teacherlm_ratings"], first["reader"]) == (1, "Anna B.")
    assert first["page"] == page.get_attribute("body", "data-digest")
    times = [row.pop("time") for row in rows]
    assert all(time.endswith("Z") for time in times)
    sample = {"source": "creak", "kind": "cot"}
    assert rows == [
        {"id": "s-1", **sample, "left": 5, "right": 3, "preference": "right"},
        {"id": "s-2", **sample, "left": None, "right": None, "preference": "tie"},
    ]
    other = open_page(make_page(*two_runs))
    press(other, "j j 1")
    other.set_input_files("#files", path)
    other.wait_for_selector("#progress:has-text('1 of 19')")
    assert kept(other)["4"] == [0, 0, "tie"]
    assert kept(other)["2"] == [1, 0, ""], "the later judgement stays"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("nonsense", "line 1: this is not JSON"),
        ("null", "line 1: this is not a JSON object"),
        ('{"id": "s-1"}', "line 1: this is not a file of ratings"),
        (
            '{"teacherlm_ratings": 2, "page": "DIGEST"}',
            "line 1: ratings of format 2, and this page",
        ),
        ('{"teacherlm_ratings": 1, "page": "sha256:0"}\n{"id": "s-1"}', "ratings of another page"),
        (
            f'{THIS_PAGE}{{{SAMPLE}, "preference": "toString"}}',
            "line 2: the preference is not left, right or tie",
        ),
        ("", "this is not a file of ratings"),
    ],
)
def test_other_files_are_refused_with_a_message(page, tmp_path, lines, message):
    path = tmp_path / "other.jsonl"
    path.write_text(lines.replace("DIGEST", page.get_attribute("body", "data-digest")))
    page.set_input_files("#files", path)
    page.wait_for_selector("#warning:not([hidden])")
    assert message in page.text_content("#warning")
    assert judgements(page) == {}


def test_a_blind_page_shows_no_names_and_no_verdicts(two_runs, make_page, open_page):
    page = open_page(make_page(*two_runs, arguments=("--blind",)))
    press(page, "j j")
    assert page.locator(".facts").all_text_contents() == ["9 words", "9 words"]
    shown = page.locator("body").inner_text()
    assert "stage2" not in shown and str(two_runs[0]) not in shown


def test_ten_thousand_samples_are_a_window_of_rows(tmp_path, make_page, open_page):
    rows = [row(n, "one") for n in range(10_000)]
    page = open_page(make_page(write_run(tmp_path / "run", rows)))
    for top in (0, 250_000, 580_000):
        page.evaluate(f"document.querySelector('#list').scrollTop = {top}")
        page.wait_for_timeout(100)
        rows = page.locator(".row")
        assert 5 < rows.count() < LONGEST_WINDOW
    assert rows.last.get_attribute("aria-posinset") == "10000"
    rows.last.click()
    assert page.text_content("#question").startswith("Is 9999 ")
    assert page.evaluate("document.querySelectorAll('*').length") < 600


@pytest.mark.parametrize("width", [390, 1200])
def test_nothing_is_wider_than_the_window_and_axe_finds_nothing_serious(
    two_runs, make_page, open_page, width
):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe")
    path = make_page(*two_runs)
    for scheme in ("light", "dark"):
        page = open_page(path, width=width, color_scheme=scheme, has_touch=width < 400)
        press(page, "j j 4 2 a")
        states = ["", "?"] if width > 400 else ["", "list"]
        for state in states:
            page.click("#open-list") if state == "list" else press(page, state)
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, state
            findings = axe.Axe().run(page).response["violations"]
            serious = [own for own in findings if own["impact"] in AXE_SERIOUS]
            assert not serious, [(own["id"], own["nodes"][0]["html"]) for own in serious]
        assert page.problems == []


def test_on_a_desk_the_texts_of_two_teachers_are_side_by_side(two_runs, make_page, open_page):
    page = open_page(make_page(*two_runs), width=1200)
    page.click(".row >> nth=2")  # a sample that both teachers explained
    left, right = [page.locator(".side").nth(side).bounding_box() for side in (0, 1)]
    assert left["y"] == right["y"]
    assert left["x"] + left["width"] <= right["x"]
    assert right["x"] + right["width"] <= 1200


def test_on_a_phone_the_sides_are_stacked_and_the_list_covers_the_page(
    two_runs, make_page, open_page
):
    page = open_page(make_page(*two_runs), width=390, height=844, has_touch=True, is_mobile=True)
    assert not page.is_visible("#list")
    for target in ("#next", "#next"):
        page.tap(target)
    boxes = [page.locator(".side").nth(side).bounding_box() for side in (0, 1)]
    assert boxes[0]["x"] == boxes[1]["x"]
    assert boxes[1]["y"] > boxes[0]["y"] + boxes[0]["height"]
    assert all(box["width"] > 340 for box in boxes)
    for target in ("#side-1 .marks button >> nth=3", "[data-choice=right]"):
        page.tap(target)
    assert kept(page) == {"2": [0, 4, "right"]}
    for button in page.locator("#side-0 button, footer button").all():
        size = button.bounding_box()
        assert min(size["width"], size["height"]) >= 43, "large enough for a finger"
    page.tap("#open-list")
    page.tap(".row >> nth=0")
    assert not page.is_visible("#list")
    assert place(page).startswith("1 of 19")
