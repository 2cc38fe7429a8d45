"""Label Studio's editor in a real browser, used as an annotator does: with the mouse and the keyboard."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Locator, Page, sync_playwright

from connectors.label_studio_server import Login

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
SELECTED = "window.Htx.annotationStore.selected"
PLACE = f"""() => {{
    const image = {SELECTED}.objects[0];
    const stage = image.stageRef.container().getBoundingClientRect();
    return [stage.x + image.zoomingPositionX, stage.y + image.zoomingPositionY,
            image.stageWidth * image.zoomScale / image.naturalWidth];
}}"""
"""Where the image's top left corner is on the page, and how many pixels of the page are one of the image."""

SETTLED = """() => new Promise(done => setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(() =>
    requestAnimationFrame(() => setTimeout(done))))))"""
"""Resolves when timers of no delay that wait have run, and what they changed is drawn and can be hit."""

Point = tuple[float, float]


@contextmanager
def signed_in(login: Login, chromium: str) -> Iterator[Page]:
    """A page of a browser that is logged in."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 1400, "height": 1200})
        page.set_default_timeout(30_000)
        page.goto(f"{login.url}/user/login/")
        page.fill("input[name=email]", login.username)
        page.fill("input[name=password]", login.password)
        page.click("button[type=submit]")
        page.wait_for_url(lambda url: "/user/login" not in url, wait_until="commit")
        yield page
        browser.close()


class Editor:
    """A task in the editor. Points are in pixels of the image."""

    def __init__(self, page: Page, url: str, project: int, task: int, regions: int) -> None:
        """Open the task and wait until it shows so many regions."""
        self.page = page
        page.goto(f"{url}/projects/{project}/data?task={task}")
        page.wait_for_selector("canvas", timeout=60_000)
        page.wait_for_function(f"count => {SELECTED}?.regions?.length === count", arg=regions)
        page.wait_for_function(f"{SELECTED}.objects[0].imageIsLoaded && {SELECTED}.objects[0].stageRef")
        page.wait_for_timeout(500)  # the stage is laid out anew once

    def serialised(self) -> list[dict[str, Any]]:
        """What the editor would send now."""
        found: list[dict[str, Any]] = self.page.evaluate(f"{SELECTED}.serializeAnnotation()")
        return found

    def kinds(self) -> Counter[str]:
        """How many regions there are of each type."""
        return Counter(region["type"] for region in self.serialised())

    def rest(self) -> None:
        """Finish what is being drawn, and take label and selection back."""
        busy = f"{SELECTED}.selectedRegions.length + {SELECTED}.regions.filter(region => region.isDrawing).length"
        chosen = self.page.locator(".lsf-label_selected")
        for _ in range(20):
            if chosen.count() + self.page.evaluate(busy) == 0:
                return
            self.page.evaluate("document.activeElement?.blur()")  # the editor hears no key while a field has the focus
            self.page.keyboard.press("Escape")
            self.page.wait_for_timeout(100)
        raise AssertionError(f"{chosen.count()} labels are still chosen")

    def choose(self, label: str) -> None:
        """Take the tool of a label, with nothing selected."""
        self.rest()
        self.page.locator(".lsf-label", has_text=label).first.click()
        self.page.wait_for_selector(".lsf-label_selected")
        self.page.wait_for_timeout(300)

    def drag(self, *points: Point) -> None:
        """Press the mouse at the first point, pass through the others, and let go."""
        self.page.mouse.move(*self._at(points[0]))
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*self._at(point), steps=8)
        self.page.mouse.up()
        self.page.wait_for_timeout(200)

    def click(self, *points: Point) -> None:
        """Click each point, once the editor has had time to see what the mouse is over."""
        for point in points:
            self.page.mouse.move(*self._at(point), steps=4)
            self.page.wait_for_timeout(150)
            self.page.mouse.down()
            self.page.wait_for_timeout(30)
            self.page.mouse.up()
            self.page.wait_for_timeout(200)

    def select(self, number: int) -> None:
        """Click on a region in the list of regions."""
        self.rest()
        self._row(number).click()
        self.page.wait_for_timeout(200)

    def rotate(self, number: int, degrees: float) -> None:
        """Give a region a rotation in its details."""
        self.select(number)
        field = self.page.locator(".lsf-region-editor__input").last
        field.fill(str(degrees))
        field.press("Enter")
        self.page.wait_for_timeout(200)

    def trace(self, *points: Point) -> None:
        """Click the vertices of a polygon and close it, each again if the editor did not take it."""
        last = f"{SELECTED}.regions.at(-1)"
        count: int = self.page.evaluate(f"{SELECTED}.regions.length")
        for number, point in enumerate(points, 1):
            self._insist(point, f"{SELECTED}.regions.length === {count + 1} && {last}.points.length >= {number}")
        self._insist(points[0], f"{last}.closed")

    def path(self, *points: Point) -> None:
        """Click the vertices of a vector path and close it.

        The tool makes a vertex by timers and by the click, and on a busy machine twice, unless each has its turn.
        """
        last = f"{SELECTED}.regions.at(-1)"
        count: int = self.page.evaluate(f"{SELECTED}.regions.length")
        made = f"{SELECTED}.regions.length === {count + 1} ? {last}.vertices.length : 0"
        for number, point in enumerate(points, 1):
            for _ in range(3):
                self._press(point)
                if self.page.evaluate(made) >= number:
                    break
            vertices = self.page.evaluate(made)
            assert vertices == number, f"{vertices} vertices, expected {number}"
        self._press(points[0])
        self.page.wait_for_function(f"{last}.closed")

    def bend(self, vertex: Point) -> None:
        """Give a vertex of the path just drawn handles."""
        self.page.keyboard.down("Shift")
        self._press(vertex)
        self.page.keyboard.up("Shift")
        self.page.wait_for_function(f"{SELECTED}.regions.at(-1).vertices.some(vertex => vertex.isBezier)")

    def _press(self, point: Point) -> None:
        """Click, with time for the editor after every event of the mouse."""
        self.page.mouse.move(*self._at(point), steps=4)
        for event in (self.page.mouse.down, self.page.mouse.up):
            self.page.evaluate(SETTLED)
            event()
        self.page.evaluate(SETTLED)

    def _insist(self, point: Point, condition: str) -> None:
        for _ in range(3):
            self.click(point)
            for _ in range(15):
                if self.page.evaluate(condition):
                    return
                self.page.wait_for_timeout(100)
        raise AssertionError(f"clicked {point}, but not: {condition}")

    def note(self, number: int, text: str) -> None:
        """Write a region's meta text."""
        self.select(number)
        self.page.click('button[aria-label="Edit region\'s meta"]')
        self.page.wait_for_function("['INPUT', 'TEXTAREA'].includes(document.activeElement.tagName)")
        self.page.keyboard.type(text)
        self.page.keyboard.press("Enter")
        self.page.wait_for_timeout(200)

    def nest(self, number: int, parent: int) -> None:
        """Drag a region onto another one in the list of regions."""
        self._row(number).drag_to(self._row(parent))
        self.page.wait_for_timeout(200)

    def submit(self) -> None:
        """Submit a new annotation, or update one, and wait until the server has it."""
        self.rest()
        with self.page.expect_response(
            lambda answer: "/annotations" in answer.url and answer.request.method in ("POST", "PATCH")
        ) as caught:
            self.page.locator("button", has_text="Submit").or_(self.page.locator("button", has_text="Update")).click()
        assert caught.value.ok, caught.value.text()

    def shown(self, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
        """At the centre of which pixels of a grey image the page shows a region: bool (H, W)."""
        self.rest()
        self.page.mouse.move(5, 5)
        self.page.wait_for_timeout(300)
        with Image.open(io.BytesIO(self.page.screenshot())) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        left, top, scale = self.page.evaluate(PLACE)
        rows = (top + (np.arange(size_hw[0]) + 0.5) * scale).astype(int)
        columns = (left + (np.arange(size_hw[1]) + 0.5) * scale).astype(int)
        seen = pixels[rows.clip(0, pixels.shape[0] - 1)][:, columns.clip(0, pixels.shape[1] - 1)]
        coloured: NDArray[np.bool_] = np.ptp(seen, axis=2) > 2
        return coloured

    def _row(self, number: int) -> Locator:
        """A region's row in the list of regions, in order of drawing."""
        return self.page.locator(".lsf-outliner-item").nth(number)

    def _at(self, point: Point) -> Point:
        left, top, scale = self.page.evaluate(PLACE)
        return left + point[0] * scale, top + point[1] * scale
