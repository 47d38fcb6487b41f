//! The pages in a real browser: Chromium, driven over its debugging pipe (file descriptors 3 and 4, messages end with
//! a zero byte), so that no driver and no WebSocket is needed.
//!
//! `cargo xtask test` installs Chromium; without it these tests fail and say so.

#![expect(clippy::unwrap_used, reason = "a test stops at the first thing that is not as it should be")]

mod fixture;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fixture::Lab;
use seatrial_core::role::Role;
use serde_json::{Value, json};

const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

struct Browser {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    next: u64,
    session: Option<String>,
    /// Everything the page complained about.
    complaints: Vec<String>,
    _profile: tempfile::TempDir,
}

impl Browser {
    fn start() -> Self {
        let exists = |name: &&&str| {
            Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
        };
        let name = NAMES.iter().find(exists).unwrap_or_else(|| {
            panic!("no Chromium found ({}): install it, for example with `apt-get install chromium`", NAMES.join(", "))
        });
        let profile = tempfile::tempdir().unwrap();
        // The shell hands its own input and output over as the descriptors that the browser speaks on.
        let script = format!(
            "exec {name} --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking \
             --disable-component-update --disable-sync --hide-scrollbars --remote-debugging-pipe --user-data-dir='{}' about:blank 3<&0 4>&1 </dev/null >/dev/null 2>&1",
            profile.path().display()
        );
        let mut child =
            Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut browser = Self { child, to, from, next: 0, session: None, complaints: Vec::new(), _profile: profile };
        let target = browser.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let attached =
            browser.call("Target.attachToTarget", &json!({ "targetId": target["targetId"], "flatten": true }));
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            browser.call(domain, &json!({}));
        }
        browser
    }

    fn read(&mut self) -> Value {
        let mut message = Vec::new();
        self.from.read_until(0, &mut message).unwrap();
        assert!(!message.is_empty(), "the browser ended");
        message.pop();
        serde_json::from_slice(&message).unwrap()
    }

    /// Notes what a message says of the page; returns its method.
    fn note(&mut self, message: &Value) -> String {
        let method = message["method"].as_str().unwrap_or_default().to_owned();
        match method.as_str() {
            "Runtime.exceptionThrown" => self.complaints.push(message["params"]["exceptionDetails"].to_string()),
            "Log.entryAdded" if message["params"]["entry"]["level"] == "error" => {
                self.complaints.push(message["params"]["entry"].to_string());
            }
            "Runtime.consoleAPICalled" if message["params"]["type"] == "error" => {
                self.complaints.push(message["params"]["args"].to_string());
            }
            _ => {}
        }
        method
    }

    fn call(&mut self, method: &str, params: &Value) -> Value {
        self.ask(method, params).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    fn ask(&mut self, method: &str, params: &Value) -> Result<Value, Value> {
        self.next += 1;
        let mut request = json!({ "id": self.next, "method": method, "params": params });
        if let Some(session) = &self.session {
            request["sessionId"] = json!(session);
        }
        self.to.write_all(request.to_string().as_bytes()).unwrap();
        self.to.write_all(&[0]).unwrap();
        loop {
            let message = self.read();
            if message["id"] == json!(self.next) {
                return match message.get("error") {
                    Some(error) => Err(error.clone()),
                    None => Ok(message["result"].clone()),
                };
            }
            self.note(&message);
        }
    }

    /// Loads an address and waits for the event that says so.
    fn open(&mut self, address: &str) {
        self.call("Page.navigate", &json!({ "url": address }));
        self.loaded();
    }

    fn loaded(&mut self) {
        let deadline = Instant::now() + Duration::from_mins(1);
        while Instant::now() < deadline {
            if self.value_of_this_page("document.readyState === 'complete' && location.href !== 'about:blank'")
                == json!(true)
            {
                return;
            }
        }
        panic!("the page did not load within a minute");
    }

    fn value(&mut self, expression: &str) -> Value {
        self.evaluate(expression).unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    /// Null when the page goes while it is asked: the next one may answer.
    fn value_of_this_page(&mut self, expression: &str) -> Value {
        self.evaluate(expression).unwrap_or(Value::Null)
    }

    fn evaluate(&mut self, expression: &str) -> Result<Value, Value> {
        let params = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        Ok(self.ask("Runtime.evaluate", &params)?["result"]["value"].clone())
    }

    /// Asks until the answer is the one wanted.
    fn eventually(&mut self, expression: &str, wanted: &Value) {
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut last = Value::Null;
        while Instant::now() < deadline {
            last = self.value_of_this_page(expression);
            if last == *wanted {
                return;
            }
        }
        panic!("{expression} is {last}, not {wanted}");
    }

    /// Follows the link that a reader would click.
    fn click(&mut self, selector: &str) {
        let clicked =
            self.value(&format!("(e => {{ e?.click(); return !!e; }})(document.querySelector({selector:?}))"));
        assert_eq!(clicked, json!(true), "nothing to click at {selector}");
    }

    fn tab(&mut self) {
        for kind in ["rawKeyDown", "keyUp"] {
            let key = json!({ "type": kind, "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9 });
            self.call("Input.dispatchKeyEvent", &key);
        }
    }

    /// Without script, or with it again.
    fn script(&mut self, on: bool) {
        self.call("Emulation.setScriptExecutionDisabled", &json!({ "value": !on }));
    }

    fn press(&mut self, key: &str) {
        self.call("Input.dispatchKeyEvent", &json!({ "type": "keyDown", "key": key, "text": key }));
        self.call("Input.dispatchKeyEvent", &json!({ "type": "keyUp", "key": key }));
    }

    fn size(&mut self, width: u32, height: u32) {
        self.call(
            "Emulation.setDeviceMetricsOverride",
            &json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false }),
        );
    }

    fn scheme(&mut self, scheme: &str) {
        self.call(
            "Emulation.setEmulatedMedia",
            &json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] }),
        );
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves the lab on a free port for as long as the runtime lives.
fn serve() -> (tokio::runtime::Runtime, String) {
    serve_lab(Lab::full())
}

fn serve_lab(lab: Arc<Lab>) -> (tokio::runtime::Runtime, String) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    runtime.spawn(async move { axum::serve(listener, fixture::running(lab, Role::Submitter)).await });
    (runtime, address)
}

fn pages() -> Vec<String> {
    let lab = Lab::full();
    let of = |outcome| lab.jobs.iter().find(|job| job.row.outcome == Some(outcome)).unwrap().row.id;
    use seatrial_core::outcome::Outcome;
    let mut pages: Vec<String> = [
        "/",
        "/devices",
        "/runs",
        "/runs/610",
        "/runs/611",
        "/runs/new?variant=digits-cnn/int8&threads=1",
        "/models",
        "/models/digits-cnn",
        "/datasets",
        "/datasets/digits",
        "/search?q=zzz",
    ]
    .map(str::to_owned)
    .to_vec();
    pages.push(format!("/devices/{}", lab.devices[0].id));
    pages.extend([Outcome::Ok, Outcome::CrashSignal(11)].map(|outcome| format!("/jobs/{}", of(outcome))));
    let running = lab.live.iter().find_map(|device| device.job.clone()).unwrap().job;
    let invalid = lab.jobs.iter().find(|job| !job.row.invalid.is_empty()).unwrap().row.id;
    pages.extend([running, invalid].map(|job| format!("/jobs/{job}")));
    pages
}

/// Texts whose contrast with what is behind them is below 4.5, with the ratio.
const FAINT: &str = r"(() => {
    const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    const parse = color => {
        canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const over = ([r, g, b, a], under) => [r, g, b].map((c, i) => c * a / 255 + under[i] * (1 - a / 255));
    const light = rgb => rgb.map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = e => {
        if (!e) return [255, 255, 255];
        const own = parse(getComputedStyle(e).backgroundColor);
        return own[3] === 255 ? own.slice(0, 3) : over(own, behind(e.parentElement));
    };
    const bad = new Set();
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const e = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim() || e.closest('svg,script,.vh,:disabled') || !e.checkVisibility()) continue;
        const back = behind(e), front = over(parse(getComputedStyle(e).color), back);
        const [a, b] = [light(front), light(back)].sort((x, y) => y - x), ratio = (a + 0.05) / (b + 0.05);
        if (ratio < 4.5) bad.add(`${walker.currentNode.data.trim().slice(0, 30)} ${ratio.toFixed(2)}`);
    }
    return [...bad];
})()";

/// Parts that a reader who does not see the page could not use.
const MUTE: &str = r"(() => {
    const wrong = [], all = selector => [...document.querySelectorAll(selector)];
    const ids = all('[id]').map(e => e.id);
    ids.filter((id, i) => ids.indexOf(id) !== i).forEach(id => wrong.push('two elements are ' + id));
    if (all('h1').length !== 1) wrong.push(all('h1').length + ' first headings');
    all('th:not([scope])').forEach(e => wrong.push('no scope: ' + e.textContent));
    all('table:not(:has(thead))').forEach(e => wrong.push('no heads: ' + e.textContent.slice(0, 40)));
    all('.chart svg:not([role=img][aria-label])').forEach(e => wrong.push('no text for a drawing: ' + e.outerHTML.slice(0, 80)));
    all('input:not([type=hidden]),textarea').filter(e => !e.labels?.length && !e.ariaLabel).forEach(e => wrong.push('no label: ' + e.name));
    all('a,button').filter(e => !e.textContent.trim() && !e.ariaLabel).forEach(e => wrong.push('no name: ' + e.outerHTML.slice(0, 80)));
    all('[tabindex]').filter(e => e.tabIndex > 0).forEach(e => wrong.push('an order of its own: ' + e.outerHTML.slice(0, 80)));
    if (!document.querySelector('#said[role=status]')) wrong.push('no place for what changes');
    return wrong;
})()";

#[test]
fn no_page_complains_or_overflows_in_any_language_theme_or_width() {
    let (_server, address) = serve();
    let mut browser = Browser::start();
    for (lang, scheme) in [("en", "light"), ("zh", "dark"), ("en", "dark"), ("zh", "light")] {
        browser.scheme(scheme);
        for page in pages() {
            let separator = if page.contains('?') { '&' } else { '?' };
            for width in [390, 1440] {
                browser.size(width, 900);
                browser.open(&format!("{address}{page}{separator}lang={lang}"));
                let over = browser.value("document.documentElement.scrollWidth - innerWidth");
                assert!(over.as_i64().unwrap() <= 0, "{page} in {lang} is {over} px too wide at {width} px");
                let styled = browser.value("document.querySelectorAll('link[rel=stylesheet]')[0].sheet.cssRules.length > 50 && document.documentElement.classList.contains('js')");
                assert_eq!(styled, json!(true), "{page}: style or script did not load");
            }
            assert!(browser.complaints.is_empty(), "{page} in {lang}, {scheme}: {:?}", browser.complaints);
            assert_eq!(browser.value(FAINT), json!([]), "{page} in {lang}, {scheme}: text without enough contrast");
            assert_eq!(browser.value(MUTE), json!([]), "{page} in {lang}: what assistive technology needs is missing");
        }
    }
    // The control: both audits find what is wrong.
    browser.value(
        "const p = document.createElement('p'); p.textContent = 'faint'; p.style.color = '#aaa'; p.style.background = '#fff';
         const t = document.createElement('table'); t.innerHTML = '<tr><th>bare</th></tr>'; document.body.append(p, t);",
    );
    let found = format!("{} {}", browser.value(FAINT), browser.value(MUTE));
    for wrong in ["faint 2.3", "no scope: bare", "no heads: bare"] {
        assert!(found.contains(wrong), "{wrong} is not in {found}");
    }
}

#[test]
fn keys_switch_the_theme_move_the_selection_open_rows_and_change_the_language() {
    let (_server, address) = serve();
    let mut browser = Browser::start();
    browser.size(1440, 900);
    browser.scheme("light");
    browser.open(&format!("{address}/runs?lang=en"));

    let canvas = "getComputedStyle(document.body).backgroundColor";
    let light = browser.value(canvas);
    browser.press("t");
    browser.eventually("document.documentElement.dataset.theme", &json!("dark"));
    assert_ne!(browser.value(canvas), light, "the colours follow");

    let selected =
        "[...document.querySelectorAll('[data-row]')].findIndex(row => row.getAttribute('aria-selected') === 'true')";
    browser.press("j");
    browser.press("j");
    browser.eventually(selected, &json!(1));
    browser.press("k");
    browser.eventually(selected, &json!(0));

    browser.press("l");
    browser.eventually("document.documentElement.lang", &json!("zh-CN"));
    browser.loaded();
    browser.eventually("document.documentElement.dataset.theme", &json!("dark"));

    browser.press("j");
    browser.eventually(selected, &json!(0));
    browser.call(
        "Input.dispatchKeyEvent",
        &json!({ "type": "keyDown", "key": "Enter", "code": "Enter", "text": "\r", "windowsVirtualKeyCode": 13 }),
    );
    browser.eventually("location.pathname", &json!("/runs/611"));
    browser.eventually("document.documentElement.lang", &json!("zh-CN"));
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

#[test]
fn a_live_page_replaces_its_parts_and_nothing_else() {
    let (_server, address) = serve();
    let mut browser = Browser::start();
    browser.open(&format!("{address}/runs/611?lang=en"));
    browser.value(
        "document.querySelector('#run-head').dataset.old = '1'; document.querySelector('#suite').dataset.old = '1'",
    );
    browser.eventually("document.querySelector('#run-head').dataset.old === undefined", &json!(true));
    assert_eq!(browser.value("document.querySelector('#suite').dataset.old"), json!("1"));
    assert_eq!(browser.value("document.querySelectorAll('h1').length"), json!(1));
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

#[test]
fn the_count_of_a_selector_follows_the_typing() {
    let (_server, address) = serve();
    let mut browser = Browser::start();
    browser.open(&format!("{address}/runs/new?lang=en"));
    browser.value("const i = document.querySelector('[name=devices]'); i.value = 'simulated'; i.dispatchEvent(new Event('input'))");
    browser.eventually(
        "/^\\d+ of 7 devices match\\.$|simulated/.test(document.querySelector('#count').textContent)",
        &json!(true),
    );
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

#[test]
fn a_page_without_script_sorts_filters_and_pages_by_its_links() {
    let (_server, address) = serve_lab(Lab::large());
    let mut browser = Browser::start();
    browser.size(1440, 900);
    browser.open(&format!("{address}/runs/612?lang=en"));
    let ids = "[...document.querySelectorAll('#jobs [data-row] th a')].map(a => a.textContent)";
    let first = browser.value(ids);
    browser.script(false);
    let follow = |browser: &mut Browser, link: &str| {
        browser.script(true);
        let href = browser.value(&format!("document.querySelector({link:?}).href"));
        browser.script(false);
        browser.open(href.as_str().unwrap());
        browser.script(true);
    };
    follow(&mut browser, "#jobs .fac a[href*='show=failed']");
    assert_eq!(browser.value("document.querySelector('#jobs .fac [aria-current]').textContent"), json!("Failed150"));
    assert_eq!(browser.value("document.querySelectorAll('#jobs [data-row]').length"), json!(150));
    follow(&mut browser, "#jobs .fac a[href*='show=valid']");
    follow(&mut browser, "#jobs th a[href*='sort=-p50']");
    assert_eq!(browser.value("document.querySelector('#jobs th[aria-sort]').ariaSort"), json!("descending"));
    assert_eq!(browser.value("document.querySelector('#jobs .pager span').textContent"), json!("1 to 200 of 1,750"));
    let sorted = browser.value(ids);
    assert_ne!(sorted, first, "the order is another");
    follow(&mut browser, "#jobs a[rel=next]");
    assert_eq!(browser.value("document.querySelector('#jobs .pager span').textContent"), json!("201 to 400 of 1,750"));
    assert!(browser.value("location.search").as_str().unwrap().contains("show=valid"), "the filter stays");
    assert_ne!(browser.value(ids), sorted, "other rows");
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

#[test]
fn a_running_jobs_page_follows_it_and_leaves_what_the_reader_is_at() {
    let (_server, address) = serve();
    let lab = Lab::full();
    let job = lab.live.iter().find_map(|device| device.job.clone()).unwrap().job;
    let mut browser = Browser::start();
    browser.open(&format!("{address}/jobs/{job}?lang=zh"));
    let text = "document.querySelector('#job-head .now').textContent";
    let before = browser.value(text);
    assert!(before.as_str().unwrap().contains("measure：6"), "{before}");
    browser.value("document.querySelector('#spec details').open = true");
    browser.eventually(&format!("{text} !== {before}"), &json!(true));
    assert_eq!(
        browser.value("document.querySelector('#spec details').open"),
        json!(true),
        "what was opened stays open"
    );

    browser.value("document.querySelector('#job-head .acts a').focus()");
    let held = browser.value(text);
    let later = format!("new Promise(done => setTimeout(() => done({text}), 3000))");
    assert_eq!(browser.value(&later), held, "what has the focus waits");
    browser.value("document.activeElement.blur()");
    browser.eventually(&format!("{text} !== {held}"), &json!(true));
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

#[test]
fn a_reader_with_a_keyboard_sees_where_they_are_and_can_skip_the_bar() {
    let (_server, address) = serve();
    let mut browser = Browser::start();
    browser.size(1440, 900);
    browser.open(&format!("{address}/runs/610?lang=en"));
    browser.tab();
    browser.eventually("document.activeElement.className", &json!("skip"));
    assert_eq!(browser.value("document.activeElement.getBoundingClientRect().left >= 0"), json!(true), "it is shown");
    let outlined =
        "(s => s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2)(getComputedStyle(document.activeElement))";
    for _ in 0..12 {
        browser.tab();
        assert_eq!(browser.value(outlined), json!(true), "{}", browser.value("document.activeElement.outerHTML"));
    }
    browser.value("document.querySelector('.heat td a').focus()");
    browser.eventually("document.querySelector('#tip').style.display", &json!("block"));
    browser.press("/");
    browser.eventually("document.activeElement.name", &json!("q"));
    browser.press("j");
    assert_eq!(browser.value("document.querySelector('[aria-selected]')"), Value::Null, "no key acts inside a field");
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

#[test]
fn buttons_switch_theme_and_language_as_the_keys_do() {
    let (_server, address) = serve();
    let mut browser = Browser::start();
    browser.size(390, 800);
    browser.scheme("dark");
    browser.open(&format!("{address}/models?lang=en&sort=-name"));
    browser.click("[data-act=theme]");
    browser.eventually("document.documentElement.dataset.theme", &json!("light"));
    browser.click("[data-act=language]");
    browser.eventually("document.documentElement.lang", &json!("zh-CN"));
    browser.loaded();
    assert_eq!(browser.value("document.documentElement.dataset.theme"), json!("light"), "the theme stays");
    assert!(browser.value("location.search").as_str().unwrap().contains("sort=-name"), "and so does the order");
    browser.open(&format!("{address}/runs"));
    assert_eq!(browser.value("document.documentElement.lang"), json!("zh-CN"), "the language is kept for other pages");
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}
