"""A page as it is printed: its tables and figures have to fit the width of the paper."""

A4 = (718, 1047)  # within margins of a centimetre, in CSS pixels

_PLACES = """[...document.querySelectorAll('table, .drawing svg')].map(node => {
    const [box, around] = [node.getBoundingClientRect(), node.closest('.wide')];
    const scrolls = getComputedStyle(around).overflowX !== 'visible';
    const inside = box.left >= 0 && box.right <= innerWidth && box.width > 0 && !scrolls;
    return [around.ariaLabel, box.right, inside && node.checkVisibility()];
})"""


def check_nothing_is_clipped(page, tables=10):
    """Check a page that is opened in the size A4, in which more than so many tables are."""
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    places = page.evaluate(_PLACES)
    assert len(places) > tables
    assert [(name, right) for name, right, whole in places if not whole] == []
    assert page.evaluate("document.documentElement.scrollWidth") == A4[0]
    assert not page.locator(".controls:visible, .filter:visible, nav:visible").count()
