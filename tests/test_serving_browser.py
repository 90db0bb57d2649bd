"""The page in a browser, as somebody uses it: a picture, a text, boxes, and what goes wrong."""

import json
import shutil

import pytest
from PIL import Image
from served_pages import brightness, make_a_run, picture, place, questions, served

webdriver = pytest.importorskip("selenium.webdriver")
CHROMIUM, DRIVER = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not CHROMIUM or not DRIVER, reason="needs Chromium and chromedriver")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_a_run(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,900"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def page(browser):
    return Page(browser)


class Page:
    """What a person can do on the page, and see."""

    def __init__(self, browser):
        self.browser = browser
        browser.get_log("browser")  # of the test before

    def find(self, selector):
        return self.browser.find_element("css selector", selector)

    def finds(self, selector):
        return self.browser.find_elements("css selector", selector)

    def wait(self, condition):
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.browser, 30, 0.05).until(lambda _: condition())

    def answered(self, part="#result"):
        """Wait for a result, or a problem, and return what it says."""
        self.wait(lambda: self.find("#answer").get_attribute("aria-busy") == "false" and self.find(part).is_displayed())
        return self.find("#said" if part == "#result" else part).text

    def choose(self, file):
        self.find("#file").send_keys(str(file))

    def complaints(self):
        """Of the browser's console, but for those about answers that are none, which it notes by itself."""
        return [each["message"] for each in self.browser.get_log("browser") if "status of 4" not in each["message"]]


def test_a_picture_is_chosen_and_its_classes_are_shown(page, run, tmp_path):
    (tmp_path / "it's bright.png").write_bytes(picture())
    with served(brightness, "image", run) as address:
        page.browser.get(address)
        assert page.find("h1").text == "flowers" and "80.2% on 101 test images" in page.find("header").text
        page.choose(tmp_path / "it's bright.png")
        assert page.answered() == "<b>bright</b> 100.0%"
        rows = [row.text.split("\n") for row in page.finds("#bars li")]
        assert rows == [["<b>bright</b>", "100.0%"], ["dark", "0.0%"]]
        widths = [bar.get_attribute("style") for bar in page.finds("#bars i")]
        assert widths == ["width: 100%;", "width: 0%;"]
        assert "ms in the model" in page.find("#time").text
        assert page.find("#spoken").get_attribute("textContent") == "<b>bright</b> 100.0%"
        assert page.find("#picture").get_property("naturalWidth") == 32
        page.find("summary").click()
        command = page.find("#curl").text
        assert command == (f"curl -H 'Content-Type: image/png' --data-binary '@it'\\''s bright.png' {address}/predict")
        assert json.loads(page.find("#json").text)["said"] == ["<b>bright</b>"]
    assert page.complaints() == []


def test_what_goes_wrong_is_told_and_the_next_picture_is_answered(page, run, tmp_path):
    (tmp_path / "torn.jpg").write_bytes(picture((200, 200), "jpeg")[:-300])
    (tmp_path / "large.png").write_bytes(bytes(20_000_001))
    (tmp_path / "good.png").write_bytes(picture(colour="black"))
    with served(brightness, "image", run) as address:
        page.browser.get(address)
        page.choose(tmp_path / "torn.jpg")
        assert page.answered("#problem") == (
            "This picture cannot be read (truncated: the file ends before its picture does). Try another one."
        )
        page.choose(tmp_path / "large.png")
        assert page.answered("#problem") == "The file is too large: 20.0 MB. At most 20 MB."
        page.choose(tmp_path / "good.png")
        assert page.answered() == "dark 100.0%"
        assert not page.find("#problem").is_displayed()
    page.choose(tmp_path / "good.png")
    assert page.answered("#problem") == "The server does not answer. Is it still running in its terminal?"
    assert [each for each in page.complaints() if "ERR_CONNECTION_REFUSED" not in each] == []


DROPPED = """
    const canvas = new OffscreenCanvas(8, 8);
    canvas.getContext("2d").fillRect(0, 0, 8, 8);
    return canvas.convertToBlob().then((blob) => {
      const data = new DataTransfer();
      data.items.add(new File([blob], "it.png", { type: "image/png" }));
      const event = arguments[0] === "drop"
        ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
        : new ClipboardEvent("paste", { clipboardData: data, bubbles: true });
      document.getElementById("drop").dispatchEvent(event);
    });
"""


@pytest.mark.parametrize("how", ["drop", "paste"])
def test_a_picture_is_dropped_or_pasted(page, run, how):
    with served(brightness, "image", run) as address:
        page.browser.get(address)
        page.browser.execute_script(DROPPED, how)
        assert page.answered() == "dark 100.0%"
        assert page.find("#name").text == "it.png"
    assert page.complaints() == []


def test_boxes_lie_on_the_picture_and_follow_the_slider(page, run, tmp_path):
    Image.new("RGB", (400, 200), "white").save(tmp_path / "wide.png")
    with served(place, "image", run) as address:
        page.browser.get(address)
        page.choose(tmp_path / "wide.png")
        assert page.answered() == "1 × <b>bright</b> and 1 less sure"
        (box,) = page.finds("#boxes > div")
        frame, drawn = page.find("#picture").rect, box.rect
        assert drawn["x"] == pytest.approx(frame["x"] + frame["width"] / 4, abs=1)
        assert drawn["y"] == pytest.approx(frame["y"] + frame["height"] / 2, abs=1)
        assert drawn["width"] == pytest.approx(frame["width"] / 4, abs=1)
        assert drawn["height"] == pytest.approx(frame["height"] / 2, abs=1)
        assert box.text == "<b>bright</b> 90%"
        slider = page.find("#least")
        assert slider.get_attribute("value") == "30" and page.find("#shown-from").text == "30%"
        slider.send_keys("\ue012" * 11)  # to the left
        assert page.find("#said").text == "1 × <b>bright</b>, 1 × dark" and len(page.finds("#boxes > div")) == 2
        slider.send_keys("\ue010")  # End
        assert page.find("#said").text == "nothing found and 2 less sure" and not page.finds("#boxes > div")
    assert page.complaints() == []


def test_boxes_of_a_turned_photo_and_of_one_that_the_browser_cannot_show(page, run, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.new("RGB", (400, 200), "white").save(tmp_path / "turned.jpg", exif=exif)
    Image.new("RGB", (400, 200), "white").save(tmp_path / "it.tiff")
    with served(place, "image", run) as address:
        page.browser.get(address)
        for file, shape in (("turned.jpg", 0.25), ("it.tiff", 1)):
            page.choose(tmp_path / file)
            page.wait(lambda name=file: page.find("#name").text == name)
            page.answered()
            page.wait(lambda: page.finds("#boxes > div"))
            box = page.find("#boxes > div").rect
            assert box["width"] / box["height"] == pytest.approx(shape, abs=0.05)
        assert page.find("#hint").text == "(this browser cannot show it)"
    assert page.complaints() == []


def test_a_text_is_typed(page, run):
    with served(questions, "text", run) as address:
        page.browser.get(address)
        text = page.find("#text")
        assert page.browser.switch_to.active_element == text
        text.send_keys("Where's <it>?", "\ue009\ue007")  # Ctrl + Enter
        assert page.answered() == "question 75.0%"
        assert page.find("#count").text == "13"
        page.find("summary").click()
        assert page.find("#curl").text == (
            "curl -H 'Content-Type: application/json' -d '{\"text\":\"Where'\\''s <it>?\"}' " + f"{address}/predict"
        )
        text.clear()
        page.find("button.button").click()
        assert page.answered("#problem") == "The text is empty: type a few words."
        text.send_keys("Here.")
        page.find("button.button").click()
        assert page.answered() == "statement 75.0%"
    assert page.complaints() == []


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_is_wider_than_the_screen(page, run, tmp_path, width):
    name = "a-name-" + 40 * "long"
    Image.new("RGB", (3000, 20), "white").save(tmp_path / f"{name}.png")
    metrics = {"width": width, "height": 700, "deviceScaleFactor": 1, "mobile": width < 500}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        for predict in (brightness, place):
            with served(predict, "image", run) as address:
                page.browser.get(address)
                page.choose(tmp_path / f"{name}.png")
                page.answered()
                page.find("summary").click()
                assert page.browser.execute_script("return document.documentElement.scrollWidth") <= width
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
