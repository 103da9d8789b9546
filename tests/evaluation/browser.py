"""A headless Chromium, driven over the DevTools protocol: what a reader of the report's page sees and can do."""

import base64
import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import websocket

FLAGS = (
    "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-extensions", "--mute-audio", "--hide-scrollbars",
    "--remote-debugging-port=0", "--remote-allow-origins=*",
)  # fmt: skip
START_SECONDS = 60
KEYS = {"Tab": 9, "ArrowLeft": 37, "ArrowRight": 39, "Home": 36, "End": 35, "Enter": 13, " ": 32}


def find_chromium() -> str | None:
    """The program, under the names it goes by."""
    return next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )


class Browser:
    """One open tab."""

    def __init__(self, address: str) -> None:
        self._socket = websocket.create_connection(address, timeout=60)
        self._last = 0
        self.console: list[str] = []  # errors and warnings that the page caused
        self.requests: list[str] = []  # addresses it asked for, data URIs left out
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command and its result; events on the way are noted."""
        self._last += 1
        self._socket.send(json.dumps({"id": self._last, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == self._last:
                assert "error" not in message, message["error"]
                return dict(message["result"])
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        method, told = message["method"], message["params"]
        if method == "Runtime.exceptionThrown":
            self.console.append(str(told["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.console.append(str(told["args"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.console.append(told["entry"]["text"])
        elif method == "Network.requestWillBeSent" and not told["request"]["url"].startswith("data:"):
            self.requests.append(told["request"]["url"])

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression; promises are awaited."""
        made = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in made, made["exceptionDetails"]
        return made["result"].get("value")

    def resize(self, width: int, height: int = 900) -> None:
        """Give the tab a size, in CSS pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def open(self, page: Path) -> None:
        """Show a file and wait until it is loaded."""
        self.call("Page.navigate", url=page.resolve().as_uri())
        deadline = time.monotonic() + START_SECONDS
        while self.run("document.readyState") != "complete" or self.run("location.href") == "about:blank":
            assert time.monotonic() < deadline, f"{page} did not load"
            time.sleep(0.05)

    def decode_all(self) -> None:
        """Wait until every image is decoded, those that are not in sight too."""
        self.run("Promise.allSettled([...document.images].map(image => image.decode())).then(() => true)")

    def press(self, key: str, shift: bool = False) -> None:
        """One key stroke, as from a keyboard."""
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown" if text else "rawKeyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=KEYS[key],
                modifiers=8 if shift else 0, **text,
            )  # fmt: skip

    def screenshot(self, top: float, width: int, height: int) -> bytes:
        """A part of the page as PNG, `top` CSS pixels from its beginning, in sight or not."""
        clip = {"x": 0, "y": top, "width": width, "height": height, "scale": 1}
        made = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        return base64.b64decode(made["data"])

    def close(self) -> None:
        """Drop the connection; the program ends with its context."""
        self._socket.close()


@contextmanager
def browsing(program: str, profile: Path) -> Iterator[Browser]:
    """A fresh browser on an empty profile, ended when done.

    Args:
        program: from `find_chromium`.
        profile: an empty folder.
    """
    # its own sandbox needs rights that root in a container has not; a page of ours loads nothing foreign
    sandbox = ("--no-sandbox",) if os.geteuid() == 0 else ()
    command = [program, *FLAGS, *sandbox, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        browser = Browser(_address(profile, process))
        try:
            yield browser
        finally:
            browser.close()
    finally:
        process.terminate()
        process.wait(timeout=30)


def _address(profile: Path, process: subprocess.Popen[bytes]) -> str:
    port_file = profile / "DevToolsActivePort"
    deadline = time.monotonic() + START_SECONDS
    while not (port_file.exists() and "\n" in port_file.read_text()):
        assert process.poll() is None, f"chromium ended with {process.returncode}"
        assert time.monotonic() < deadline, "chromium did not start"
        time.sleep(0.05)
    port = port_file.read_text().splitlines()[0]
    while True:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=10) as answer:
            tabs = [tab for tab in json.load(answer) if tab["type"] == "page"]
        if tabs:
            return str(tabs[0]["webSocketDebuggerUrl"])
        assert time.monotonic() < deadline, "chromium opened no tab"
        time.sleep(0.05)
