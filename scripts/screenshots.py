#!/usr/bin/env python3
"""Looks at report pages in a browser: no errors, no requests, nothing wider than a phone, and works without its script.

usage: screenshots.py [--out FOLDER] PAGE.html...

Needs the Python package `playwright` and a Chromium (`apt-get install chromium`, or `playwright install chromium`);
says "skipped" and ends well where there is none. With --out, keeps pictures: light, dark, phone, paper.
"""
import argparse
import base64
import hashlib
import pathlib
import re
import shutil
import sys

PHONE, DESK = (390, 844), (1280, 900)


def offline(text: str) -> list[str]:
    """What can be told of a page without a browser."""
    found = []
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    if f"'sha256-{digest}'" not in text:
        found.append(f"script.sha256 is not {digest}, so that the script will not run")
    if text.count("<script") != 1:
        found.append("there is another script")
    return found


def browser_of(playwright):
    system = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    return playwright.chromium.launch(executable_path=system, args=["--no-sandbox"])


def seen(browser, page: pathlib.Path, size, *, dark=False, script=True):
    """A tab with the page, and what it complained of and asked for."""
    tab = browser.new_page(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if dark else "light",
        java_script_enabled=script,
    )
    noise: list[str] = []
    tab.on("console", lambda said: noise.append(f"console: {said.text}"))
    tab.on("pageerror", lambda error: noise.append(f"error: {error}"))
    own = page.resolve().as_uri()
    tab.on("request", lambda asked: None if asked.url in (own, "data:,") else noise.append(f"request: {asked.url}"))
    tab.goto(own)
    return tab, noise


def check(browser, page: pathlib.Path, out: pathlib.Path | None) -> list[str]:
    found = []

    def picture(tab, kind):
        if out:
            tab.screenshot(path=out / f"{page.stem}.{kind}.png")

    for kind, size, dark in [("light", DESK, False), ("dark", DESK, True), ("phone", PHONE, False)]:
        tab, noise = seen(browser, page, size, dark=dark)
        found += [f"{kind}: {one}" for one in noise]
        # What is folded away must fit as well.
        for state in ["as it is", "unfolded"]:
            wide = tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            if wide > 0:
                found.append(f"{kind}: {wide} px wider than the screen, {state}")
            if state == "as it is":
                picture(tab, kind)
                tab.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
                tab.evaluate("document.querySelectorAll('input[type=checkbox]').forEach((one) => { one.checked = true; })")
        tab.close()

    tab, noise = seen(browser, page, DESK)
    levels = tab.evaluate("[...document.querySelectorAll('h1, h2, h3')].map((one) => Number(one.tagName[1]))")
    if levels.count(1) != 1 or any(b - a > 1 for a, b in zip(levels, levels[1:])):
        found.append(f"headings jump: {levels}")
    twice = tab.evaluate(
        "[...document.querySelectorAll('[id]')].map((one) => one.id).filter((id, at, all) => all.indexOf(id) !== at)"
    )
    found += [f"two elements have the id {one}" for one in twice]
    # The worst layer stays first or becomes last when the table is sorted by its second column, twice.
    button = tab.locator("#layers th button").nth(1)
    if button.count():
        first = "#layers tbody tr:not(.hide) th"
        worst = tab.locator(first).first.inner_text()
        button.click()
        button.click()
        if tab.locator(first).first.inner_text() != worst:
            found.append("sorting twice by added noise does not put the worst layer first")
    elif tab.locator("#layers table").count():
        found.append("tables cannot be sorted: the script did not run")
    if out:
        tab.pdf(path=out / f"{page.stem}.pdf", format="A4")
    tab.close()

    tab, noise = seen(browser, page, PHONE, script=False)
    found += [f"without the script: {one}" for one in noise if not one.startswith("console")]
    if not tab.locator(".verdict").is_visible():
        found.append("without the script: the verdict is not visible")
    tab.close()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="+", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path)
    options = parser.parse_args()
    failed = 0

    def tell(page, found):
        nonlocal failed
        failed += len(found)
        print(f"{page}: {'; '.join(found) if found else 'sound'}")

    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        sync_playwright = None
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
    for page in options.pages:
        found = offline(page.read_text(encoding="utf-8"))
        if found:
            tell(page, found)
    if sync_playwright is None:
        print("skipped: the Python package `playwright` is not installed")
        return min(failed, 1)
    with sync_playwright() as playwright:
        try:
            browser = browser_of(playwright)
        except Error as error:
            print(f"skipped: no browser can be started: {str(error).splitlines()[0]}")
            return min(failed, 1)
        for page in options.pages:
            tell(page, check(browser, page, options.out))
        browser.close()
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
