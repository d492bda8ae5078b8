// Are my logs up, and if not, why, and when?
//
// It asks relative to its own address. What comes from the robot is only ever shown as text.

const BASE = new URL("..", import.meta.url);
const PAGE_ROWS = 250; // rows of one request
const SILENT_MS = 8_000; // the robot says at least every 5 s that it is there
const PROBE_MS = 4_000;
const POLL_MS = 3_000;
const DAY_MS = 86_400_000;

const $ = (id) => document.getElementById(id);

/** An element with properties, or attributes where there are none such. */
function make(tag, given = {}, ...children) {
	const made = document.createElement(tag);
	for (const [name, value] of Object.entries(given)) {
		if (name in made) made[name] = value;
		else made.setAttribute(name, value);
	}
	made.append(...children);
	return made;
}

const on = (target, kind, call, how) => target.addEventListener(kind, call, how);

function setText(node, text) {
	if (node.textContent !== text) node.textContent = text;
}

// -- words

const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const CLOCK_S = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const DAY = new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric", month: "short" });
const DATE = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
const PROOFS = {
	"crc32+etag": "CRC-32 and ETag",
	etag: "ETag",
	crc32: "CRC-32",
	"read-back": "read back",
};
const STATES = {
	queued: ["waiting", "wait"],
	uploading: ["sending", "move"],
	verified: ["proven", "ok"],
	dead: ["cannot be sent", "bad"],
	cancelled: ["cancelled", "none"],
	card: ["on the card", "wait"],
};
const CARD_WORDS = { settled: "Waits to be fetched", fetching: "Being fetched", fetched: "Fetched" };
const CAME_IN = {
	scan: "found in a log directory",
	card: "fetched from the autopilot's card",
	rest: "sent over REST",
	proxy: "from another petal",
	cli: "on the command line",
	session: "for a diagnosis session",
};
const codes = (text) => new Set(text.split(" "));
const ON_ITS_WAY = codes("uploading its_turn settling unscanned on_card link_back listening starting");
const NOTHING = codes("no_log nothing_waits closed");
const FOR_A_PERSON = codes(
	"some_dead object_gone trouble unread no_drain not_s3 tls tls_dates no_credentials credentials_refused " +
		"credentials_unsendable token_service_login token_service_refused token_service_nonsense bucket " +
		"bucket_full forbidden not_implemented encryption address_style aws_settings config packages " +
		"storage_full too_many_files",
);

function size(bytes) {
	const power = bytes < 1e3 ? 0 : bytes < 1e6 ? 1 : bytes < 1e9 ? 2 : 3;
	const amount = bytes / 1000 ** power;
	return `${amount.toFixed(power && amount < 10 ? 1 : 0)} ${["B", "kB", "MB", "GB"][power]}`;
}

function span(seconds) {
	const s = Math.max(0, Math.round(seconds));
	if (s < 100) return `${s} s`;
	if (s < 6_000) return `${Math.round(s / 60)} min`;
	if (s < 172_800) return `${Math.floor(s / 3600)} h ${Math.round((s % 3600) / 60)} min`;
	return `${Math.round(s / 86_400)} days`;
}

/** "14:02", with the day where it is not today's. */
function moment(ms) {
	const then = new Date(ms);
	const today = then.toDateString() === new Date().toDateString();
	return today ? CLOCK.format(then) : `${day(ms)}, ${CLOCK.format(then)}`;
}

/** Day and second; nothing where the time is not known. */
const stamp = (ms) => (ms ? `${DATE.format(ms)}, ${CLOCK_S.format(ms)}` : "");

function day(ms) {
	const then = new Date(ms);
	const ago = Math.round((new Date().setHours(0, 0, 0, 0) - new Date(ms).setHours(0, 0, 0, 0)) / DAY_MS);
	if (ago === 0) return "Today";
	if (ago === 1) return "Yesterday";
	return then.getFullYear() === new Date().getFullYear() ? DAY.format(then) : DATE.format(then);
}

function many(number, what) {
	return `${number.toLocaleString("en-GB")} ${what}${number === 1 ? "" : "s"}`;
}

function tone(code) {
	if (code === "all_up") return "ok";
	if (NOTHING.has(code)) return "none";
	if (FOR_A_PERSON.has(code)) return "bad";
	return ON_ITS_WAY.has(code) ? "move" : "wait";
}

// -- asking

/** Why the robot did not do it; `status` is 0 where it did not answer at all. */
class Trouble extends Error {
	constructor(message, status) {
		super(message);
		this.status = status;
	}
}

const NO_ANSWER = () => new Trouble("The robot does not answer.", 0);

async function ask(method, path, body, patience = 20_000) {
	const request = { method, cache: "no-store", signal: AbortSignal.timeout(patience) };
	if (body !== undefined) {
		request.body = JSON.stringify(body);
		request.headers = { "Content-Type": "application/json" };
	}
	const got = await fetch(new URL(path, BASE), request).catch(() => {
		throw NO_ANSWER();
	});
	if (got.status === 204) return null;
	const told = await got.json().catch(() => ({}));
	if (!got.ok) throw troubleOf(got.status, told);
	known.heard = Date.now();
	return told;
}

/** A gateway answers for a robot that is away, with none of our codes. */
function troubleOf(status, told) {
	if (status >= 502 && !told.code) return NO_ANSWER();
	return new Trouble(told.error ?? `The robot answered ${status}.`, status);
}

// -- what is known

const known = {
	status: null,
	rows: new Map(), // by id
	card: [], // the files of the autopilot's card
	cardOf: new Map(), // a row's id: its file on the card
	samples: [],
	pages: new Map([["card", null]]), // by state: the token of the next page; null after the last
	heard: 0, // when the robot was last heard, by the clock of this device
	awaySince: 0, // 0: it is reachable
};

/** Take rows in. `asked`: when they were asked for; what came later by an event is newer. */
function takeRows(rows, asked = Infinity) {
	for (const row of rows) {
		const before = known.rows.get(row.id);
		if (before && before.came > asked) continue;
		row.came = performance.now();
		row.time = Date.parse(row.log_time);
		row.title = row.name;
		row.words = `${row.title} ${row.key} ${row.reason} ${row.flight ?? ""}`.toLowerCase();
		row.due = row.next_attempt_s === null ? null : row.came + 1000 * row.next_attempt_s;
		row.shown = row.dismissed ? null : row.state;
		known.rows.set(row.id, row);
		const same = ["time", "flight", "duration_s", "shown"].every((name) => before?.[name] === row[name]);
		if (!same || filter.text) arrange();
		else repaint(row);
	}
}

/** The answer to a change; an event since then may be newer. */
async function takeAnswer(row, asked) {
	while (known.rows.get(row.id)?.came > asked) {
		asked = performance.now();
		row = await ask("GET", `outbox/${row.id}`);
	}
	takeRows([row]);
}

async function loadMore(state) {
	const token = known.pages.get(state);
	if (token === null) return;
	const query = new URLSearchParams({ limit: PAGE_ROWS, ...(state && { state }), ...(token && { token }) });
	const asked = performance.now();
	const page = await ask("GET", `outbox?${query}`);
	known.pages.set(state, page.next_token);
	takeRows(page.rows, asked);
	arrange();
}

async function loadCard() {
	const card = await ask("GET", "card").catch(quiet);
	if (!card) return;
	known.card = card.files.map((file) => ({
		...file,
		card: true,
		shown: "card",
		title: file.path.split("/").at(-1),
		time: 1000 * (file.time ?? 0),
		flight: /(\d{4}-\d\d-\d\d\/[^/]+)\.\w+$/.exec(file.path)?.[1] ?? null,
		words: `${file.path} ${file.reason}`.toLowerCase(),
	}));
	known.cardOf = new Map(known.card.map((file) => [file.row, file]));
	arrange();
	answer();
}

async function loadHistory() {
	const told = await ask("GET", "history").catch(quiet);
	if (told) known.samples = told.samples.map((one) => ({ ...one, at: Date.parse(one.at) }));
	plots();
}

function takeStatus(status) {
	const before = known.status;
	status.came = performance.now();
	known.status = status;
	known.changed = true;
	if (before && JSON.stringify(before.card) !== JSON.stringify(status.card)) soon(loadCard, 1500);
	answer();
}

/** For what the page can do without. */
function quiet(trouble) {
	if (!(trouble instanceof Trouble)) throw trouble;
}

const timers = new Map();

/** Call it once, in a while, however often it is asked for until then. */
function soon(what, ms) {
	if (timers.has(what)) return;
	const call = () => {
		timers.delete(what);
		what();
	};
	timers.set(what, setTimeout(call, ms));
}

// -- staying live

let stream = new AbortController();
let failed = 0; // how often in a row there was no stream

async function live() {
	for (;;) {
		await visible();
		await listen().catch((trouble) => recover(trouble).catch(quiet));
	}
}

async function recover(trouble) {
	quiet(trouble);
	failed += 1;
	if (trouble.status === 401) await login();
	else if (trouble.status === 0 && !(await reachable())) await away();
	else if (trouble.status || failed > 2) await poll(trouble);
}

/** Everything anew, once a stream has begun: nothing falls between. */
async function refresh() {
	const asked = performance.now();
	const status = await ask("GET", "status", undefined, PROBE_MS);
	if (!(known.status?.came > asked)) takeStatus(status);
	const page = await ask("GET", `outbox?limit=${PAGE_ROWS}`);
	if (!known.pages.has("")) known.pages.set("", page.next_token);
	takeRows(page.rows, asked);
	forget(page, asked);
	here();
	await Promise.all([loadCard(), loadHistory()]);
}

/** What the newest rows lack, somebody has dismissed. */
function forget({ rows, next_token }, asked) {
	const there = new Set(rows.map((row) => row.id));
	for (const [id, row] of known.rows) {
		if (id > (next_token ?? 0) && row.came < asked && !there.has(id)) known.rows.delete(id);
	}
	arrange();
}

/** Follow the events until the stream ends; raises Trouble where there is none. */
async function listen() {
	stream = new AbortController();
	const late = setTimeout(() => stream.abort(), PROBE_MS);
	let refreshed = null;
	try {
		const told = await fetch(new URL("events", BASE), { cache: "no-store", signal: stream.signal });
		if (!told.ok) throw troubleOf(told.status, await told.json().catch(() => ({})));
		const reader = told.body.pipeThrough(new TextDecoderStream()).getReader();
		for (let left = ""; ;) {
			const { value, done } = await reader.read();
			clearTimeout(late);
			if (done) break;
			failed = 0;
			refreshed ??= refresh().catch((trouble) => {
				stream.abort(); // then it is looked why
				quiet(trouble);
			});
			known.heard = Date.now();
			const blocks = (left + value).split("\n\n");
			left = blocks.pop();
			for (const block of blocks) queueMicrotask(() => takeEvent(block)); // a fault of ours ends no stream
		}
	} catch (trouble) {
		throw trouble instanceof Trouble ? trouble : NO_ANSWER();
	} finally {
		clearTimeout(late);
	}
}

function takeEvent(block) {
	const told = () => JSON.parse(/^data: (.*)$/m.exec(block)[1]);
	if (block.startsWith("event: status")) takeStatus(told());
	if (block.startsWith("event: progress")) takeRows([told()]);
	if (block.startsWith("event: trouble")) say(told().error, true);
}

/** Without events: ask for a while, then try for events again. */
async function poll(trouble) {
	if (!known.status) say(trouble.message, true);
	const until = Date.now() + Math.min(60_000, 5_000 * failed);
	while (Date.now() < until) {
		await pause(POLL_MS);
		await visible();
		await refresh();
	}
}

async function away() {
	known.awaySince ||= known.heard || Date.now();
	answer();
	while (!(await reachable())) await pause(1_000);
}

async function reachable() {
	const trouble = await ask("GET", "status", undefined, PROBE_MS).catch((told) => told);
	return trouble.status !== 0; // of a status that came it is none
}

function here() {
	$("robot").hidden = false;
	$("login").hidden = true;
	if (known.awaySince) say(`The robot is reachable again, since ${CLOCK_S.format(Date.now())}.`);
	known.awaySince = 0;
	answer();
	if (location.hash && !shown) follow();
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const shownAgain = () => new Promise((done) => on(document, "visibilitychange", done, { once: true }));

/** A page that nobody looks at asks nothing. */
async function visible() {
	while (document.hidden) await shownAgain();
}

let hiding = 0;
on(document, "visibilitychange", () => {
	clearTimeout(hiding);
	if (document.hidden) hiding = setTimeout(() => stream.abort(), 30_000);
});
on(window, "offline", () => stream.abort());

function everySecond() {
	if (document.hidden) return;
	if (!known.awaySince && known.heard && Date.now() - known.heard > SILENT_MS) stream.abort();
	asOf();
	countdowns();
	if (known.card.some((file) => file.state === "fetching")) soon(loadCard, 1500);
	if (known.changed) soon(loadHistory, 60_000);
	known.changed = false;
}

// -- the first screen

function asOf() {
	const gone = known.awaySince;
	const when = CLOCK_S.format(gone || known.heard || Date.now());
	if (known.status) setText($("as-of"), `As of ${when}`);
	$("dot").className = gone ? "dot away" : "dot live";
	$("away").hidden = !gone;
	const words = `Robot not reachable since ${when}. This is what was known then; the page goes on by itself.`;
	if (gone) setText($("away"), words);
}

/** The robot's headline; a clock time in it is put into this device's zone. */
function headline(status) {
	if (!status.eta_at) return status.headline;
	return status.headline.replace(/\((\w{3} )?\d\d:\d\d[^)]*\)/, `(${moment(Date.parse(status.eta_at))})`);
}

let announced = "";

function answer() {
	const status = known.status;
	asOf();
	if (!status) return;
	$("answer").dataset.tone = known.awaySince ? "none" : tone(status.code);
	setText($("headline"), headline(status));
	setText($("machine"), status.machine_id);
	setText($("bucket"), `in ${status.bucket_name}`);
	const { queued, uploading, verified } = status.counts;
	document.title = `${verified}/${verified + queued + uploading} proven · ${status.machine_id}`;
	sinceAndEnds(status);
	bulletins(status);
	chips(status.counts);
	for (const button of [$("look"), $("add")]) button.disabled = !mayChange();
	if (announced !== status.code) setText($("announced"), headline(status));
	announced = status.code;
}

function mayChange() {
	return Boolean(known.status) && !known.status.read_only && !known.awaySince;
}

function sinceAndEnds(status) {
	const said = [];
	if (status.since) {
		const since = Date.parse(status.since);
		said.push(`Since ${moment(since)} (${span((Date.now() - since) / 1000)}).`);
	}
	if (status.ends) said.push(status.ends);
	const due = (status.next_try_s ?? 0) - (performance.now() - status.came) / 1000;
	if (due > 0) said.push(`Next try in ${span(due)}.`);
	$("since").hidden = said.length === 0;
	setText($("since"), said.join(" "));
}

function bulletins(status) {
	const told = [...status.advice];
	setText($("trouble"), status.headline.includes(status.trouble) ? "" : status.trouble);
	if (status.read_only) told.push("Read only: PETAL_S3_REST_READ_ONLY is set.");
	$("notes").hidden = !told.length;
	setText($("notes").firstChild, `Notes for the operator: ${told.length}`);
	$("advice").replaceChildren(...told.map((text) => make("li", {}, text)));
	const share = sentShare(status);
	$("whole").hidden = share === null;
	if (share !== null) $("whole").value = share;
	const facts = factsOf(status);
	if (facts.join() === $("facts").told) return;
	$("facts").told = facts.join();
	$("facts").replaceChildren(...facts.map(([name, text]) => make("li", {}, `${name} `, make("b", {}, text))));
}

/** How much is up of what waited; null where nothing waits. */
function sentShare(status) {
	if (!status.backlog_bytes) return null;
	let most = 0;
	for (const row of known.rows.values()) if (isOpen(row)) most += row.size;
	most = Math.max(most, status.backlog_bytes);
	for (const sample of known.samples.toReversed()) {
		if (!sample.backlog_bytes) break;
		most = Math.max(most, sample.backlog_bytes);
	}
	return 1 - status.backlog_bytes / most;
}

function factsOf(status) {
	const facts = [
		["Link", status.link],
		["Credentials", status.credentials],
		["Vehicle", status.flight_state],
	];
	if (status.rate_bytes_s) facts.push(["Speed", `${size(status.rate_bytes_s)}/s`]);
	if (status.oldest_unsent_s) facts.push(["Oldest waits", span(status.oldest_unsent_s)]);
	const card = status.card;
	if (!card?.root) return facts;
	const safe = card.safe_to_erase ? "may be erased" : "must not be erased";
	const fetch = card.to_fetch ? `, ${card.to_fetch} to fetch (${size(card.to_fetch_bytes)})` : "";
	const unproven = `${many(card.on_card, "log")}, ${card.unproven || "none"} not proven`;
	return [...facts, ["Card", `${safe}: ${unproven}${fetch}`]];
}

function plots() {
	const now = Date.now();
	const samples = known.samples.filter((one) => one.at > now - DAY_MS);
	samples.push({ ...known.status, at: now });
	const kinds = [
		["backlog_bytes", "Left to send", "area", ""],
		["rate_bytes_s", "Speed", "line", "/s"],
	];
	const clock = (ago) => make("span", {}, ago ? CLOCK.format(now - 3_600_000 * ago) : "now");
	const hours = make("div", { class: "hours", "aria-hidden": "true" }, ...[24, 18, 12, 6, 0].map(clock));
	$("plots").replaceChildren(...kinds.map((kind) => plot(samples, now, ...kind)), hours);
}

/** A sample holds until the next one. */
function plot(samples, now, field, title, look, unit) {
	const most = Math.max(1, ...samples.map((one) => one[field]));
	const x = (at) => ((1000 * (at - now + DAY_MS)) / DAY_MS).toFixed(1);
	const y = (value) => (100 - (95 * value) / most).toFixed(1);
	let path = "M0 100";
	for (const one of samples) path += `H${x(one.at)}V${y(one[field])}`;
	const last = samples.at(-1)?.[field] ?? 0;
	const told = samples.length > 1 ? `now ${size(last)}${unit}, at most ${size(most)}${unit}` : "nothing changed";
	const label = `${title} in the last 24 hours: ${told}`;
	const drawn = drawing("path", { class: look, d: `${path}H1000V100` });
	const svg = drawing("svg", {
		viewBox: "0 0 1000 100",
		preserveAspectRatio: "none",
		role: "img",
		"aria-label": label,
	});
	svg.append(drawn);
	const caption = make("figcaption", {}, make("b", {}, title), make("span", { class: "muted" }, told));
	return make("figure", {}, caption, svg);
}

function drawing(tag, given) {
	const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
	for (const [name, value] of Object.entries(given)) made.setAttribute(name, value);
	return made;
}

// -- the list: only what is in view is in the document

const filter = { state: "", text: "" };
const list = { items: [], tops: [], nodes: new Map(), heights: {}, waiting: false, loading: false };

function chips(counts) {
	const numbers = { ...counts, card: known.card.filter((file) => !file.row).length };
	numbers[""] = Object.values(numbers).reduce((sum, one) => sum + one, 0);
	for (const state of ["", ...Object.keys(STATES)]) {
		let label = $(`state-${state}`);
		if (!label) {
			const input = make("input", { type: "radio", name: "state", value: state, checked: !state });
			label = make("label", { id: `state-${state}` }, input, capital(STATES[state]?.[0] ?? "all"), make("b"));
			$("states").append(label);
		}
		const number = numbers[state] ?? 0;
		label.hidden = !number && state !== "" && state !== filter.state;
		setText(label.lastChild, number.toLocaleString("en-GB"));
	}
	$("all-dead").hidden = filter.state !== "dead" || !counts.dead || !mayChange();
}

/** Put the list together anew, soon: many rows may come. */
function arrange() {
	if (list.waiting) return;
	list.waiting = true;
	requestAnimationFrame(() => {
		list.waiting = false;
		const anchor = firstInView();
		list.items = [];
		for (const flight of flights()) list.items.push(flight, ...flight.rows);
		list.tops = new Float64Array(list.items.length + 1);
		let top = 0;
		list.items.forEach((item, index) => {
			list.tops[index + 1] = top += list.heights[item.rows ? "flight" : "row"];
		});
		$("list").style.height = `${top}px`;
		draw(true);
		keep(anchor);
		tellFound();
		if (shown) details();
	});
}

function matches(item) {
	if (!item.shown || (filter.state && item.shown !== filter.state)) return false;
	return !filter.text || item.words.includes(filter.text);
}

/** Logs by flight, the newest first. */
function flights() {
	const found = new Map();
	const put = (name, item) => {
		let flight = found.get(name);
		if (!flight) found.set(name, (flight = { key: `f${name}`, time: item.time, end: 0, rows: [], all: [] }));
		flight.time = Math.min(flight.time, item.time);
		flight.end = Math.max(flight.end, item.time + 1000 * (item.duration_s ?? 0));
		flight.all.push(item);
	};
	const alone = [];
	const take = (item) => {
		if (!item.shown) return;
		if (item.session_id) put(`Session ${item.session_id}`, item);
		else if (item.flight) put(item.flight, item);
		else alone.push(item);
	};
	known.rows.forEach(take);
	for (const file of known.card) if (!file.row) take(file);
	const byTime = [...found.entries()].sort(([, a], [, b]) => a.time - b.time);
	for (const item of alone) put(flightAt(byTime, item.time) ?? `log ${item.card ? "c" : ""}${item.id}`, item);
	for (const [name, flight] of found) {
		if (name.startsWith("Session ")) flight.session = name;
		flight.rows = flight.all.filter(matches).sort((a, b) => a.time - b.time || a.id - b.id);
	}
	return [...found.values()].filter((flight) => flight.rows.length).sort((a, b) => b.time - a.time);
}

/** The name of the flight that was under way then; `byTime` is sorted. */
function flightAt(byTime, time) {
	const after = lowest(byTime.length, (index) => byTime[index][1].time > time + 60_000);
	const [name, flight] = byTime[after - 1] ?? [];
	const during = flight && time <= Math.max(flight.end, flight.time) + 60_000;
	return during && !name.startsWith("Session ") ? name : undefined;
}

function tellFound() {
	const rows = list.items.filter((item) => !item.rows).length;
	const more = known.pages.get(filter.state) !== null;
	let said = "";
	if (filter.state || filter.text) said = `${many(rows, "log")} found${more ? ", looking on …" : ""}`;
	else if (rows === 0) said = "No log is known yet. Logs appear here as they are found.";
	setText($("found"), said);
}

/** The lowest of `count` indices for which `test` holds, as for all above; else `count`. */
function lowest(count, test) {
	let [low, high] = [0, count];
	while (low < high) {
		const middle = (low + high) >> 1;
		if (test(middle)) high = middle;
		else low = middle + 1;
	}
	return low;
}

const itemAt = (y) => lowest(list.items.length, (index) => list.tops[index + 1] > y);
const keyOf = (item) => (item.rows ? item.key : item.card ? `c${item.id}` : `r${item.id}`);

/** The first item that is seen whole, and where; null at the top. */
function firstInView() {
	const y = -$("list").getBoundingClientRect().top;
	if (y <= 0 || !list.items.length) return null;
	const index = Math.min(itemAt(y) + 1, list.items.length - 1);
	return { key: keyOf(list.items[index]), top: list.tops[index] };
}

function keep(anchor) {
	if (!anchor) return;
	const index = list.items.findIndex((item) => keyOf(item) === anchor.key);
	const moved = index < 0 ? 0 : list.tops[index] - anchor.top;
	if (moved) {
		scrollBy(0, moved);
		draw(false);
	}
}

/** Show what is in view, and some rows around it; `anew`: also what is shown already. */
function draw(anew) {
	const top = -$("list").getBoundingClientRect().top;
	const first = itemAt(Math.max(0, top - 400));
	const last = Math.min(list.items.length, itemAt(top + innerHeight + 400) + 1);
	const wanted = new Map();
	const focused = $("list").contains(document.activeElement) ? document.activeElement.closest("li") : null;
	for (let index = first; index < last; index += 1) wanted.set(keyOf(list.items[index]), index);
	if (focused && !wanted.has(focused.key)) {
		const index = list.items.findIndex((item) => keyOf(item) === focused.key);
		if (index >= 0) wanted.set(focused.key, index);
	}
	for (const [key, node] of list.nodes) {
		if (!wanted.has(key)) {
			node.remove();
			list.nodes.delete(key);
		}
	}
	const inOrder = [...wanted].sort(([, a], [, b]) => a - b);
	putInOrder(inOrder, focused, anew);
	if (last >= list.items.length - 20) fillUp();
}

/** Nodes in the order of the list; one that is moved would lose the focus. */
function putInOrder(wanted, focused, anew) {
	let next = $("list").firstChild;
	for (const [key, index] of wanted) {
		let node = list.nodes.get(key);
		const item = list.items[index];
		const fresh = !node;
		if (fresh) {
			node = item.rows ? flightNode() : rowNode();
			node.key = key;
			list.nodes.set(key, node);
		}
		if (fresh || anew) {
			node.style.transform = `translateY(${list.tops[index]}px)`;
			node.setAttribute("aria-posinset", index + 1);
			node.setAttribute("aria-setsize", list.items.length);
			(item.rows ? fillFlight : fillRow)(node, item);
		}
		if (node === focused)
			while (next !== node) {
				const passed = next;
				next = next.nextSibling;
				passed.remove();
			}
		if (node === next) next = next.nextSibling;
		else $("list").insertBefore(node, next);
	}
}

/** The end of the list is near: get the next page. */
async function fillUp() {
	const page = filter.state;
	if (list.loading || known.awaySince || !known.status || known.pages.get(page) === null) return;
	if (page === "" && !known.pages.has("")) return; // the first is on its way
	list.loading = true;
	await loadMore(page).catch((trouble) => {
		quiet(trouble);
		return pause(POLL_MS);
	});
	list.loading = false;
	arrange();
}

function flightNode() {
	const node = make("li", { class: "flight" }, make("h3"), make("span"), make("span", { class: "muted" }));
	node.when = make("b");
	node.more = make("span");
	node.firstChild.append(node.when, node.more);
	return node;
}

function fillFlight(node, flight) {
	const valid = flight.time > Date.UTC(2001, 0);
	const when = valid ? `${day(flight.time)}, ${CLOCK.format(flight.time)}` : "Time not known";
	const lasted = Math.round((flight.end - flight.time) / 1000);
	setText(node.when, flight.session ?? when);
	setText(node.more, lasted > 0 ? ` · ${span(lasted)}` : "");
	const all = flight.all.length;
	const proven = flight.all.filter((row) => row.shown === "verified").length;
	const told = all > 1 ? `all ${all} proven` : "proven";
	setText(node.children[1], proven < all ? `${proven} of ${all} proven` : told);
	setText(node.lastChild, size(flight.all.reduce((sum, row) => sum + row.size, 0)));
}

function rowNode() {
	const node = make("li", { class: "row" });
	for (const name of ["pill", "why", "more", "where"]) node[name] = make("span", { class: name });
	node.where.setAttribute("role", "img");
	node.link = make("a");
	node.append(node.link, node.pill, node.why, node.more, node.where);
	return node;
}

function fillRow(node, row) {
	const [word, look] = STATES[row.shown];
	node.row = row;
	node.dataset.tone = look;
	node.link.href = row.card ? `#card/${row.id}` : `#log/${row.id}`;
	setText(node.link, row.title);
	const verdict = row.verdict && row.verdict !== "complete" ? ` · ${row.verdict.replaceAll("_", " ")}` : "";
	setText(node.more, `${size(row.size)}${verdict}${row.pinned ? " · kept" : ""}`);
	setText(node.pill, word);
	setText(node.why, whyOf(row));
	node.why.title = row.reason;
	fillBar(node, row);
	marks(node.where, row);
}

/** Only a log on its way has a bar: in a browser it is made of several elements. */
function fillBar(node, row) {
	const moves = row.card || isOpen(row);
	if (moves && !node.bar) {
		node.bar = make("progress", { max: 1, "aria-label": row.card ? "Fetched" : "Sent" });
		node.link.after(node.bar);
	}
	if (!node.bar) return;
	node.bar.hidden = !moves;
	node.bar.value = Math.min(1, doneOf(row) / (row.size || 1));
}

const isOpen = (row) => row.state === "queued" || row.state === "uploading";
const doneOf = (row) => (row.card ? row.fetched_bytes : row.sent_bytes);

/** What is to be said of a log now, in one sentence. */
function whyOf(row) {
	if (row.card) return row.reason || (CARD_WORDS[row.state] ?? capital(row.state));
	const more = row.reason ? ` · ${row.reason}` : "";
	const wait = row.due === null ? 0 : row.due - performance.now();
	const next = row.state === "queued" && wait > 1000 ? `Next try in ${span(wait / 1000)}. ` : "";
	if (row.state === "verified" && row.receipt) {
		const same = row.same_as ? ` · same bytes as log ${row.same_as}` : "";
		return `Proven ${moment(1000 * row.receipt.verified_at)} · ${PROOFS[row.receipt.proof]}${same}${more}`;
	}
	if (row.state === "uploading") return `${size(row.sent_bytes)} of ${size(row.size)}${more}`;
	const why = capital(row.reason.replace(`'${row.title}' `, ""));
	return next + (why || (row.state === "queued" ? "It waits its turn." : ""));
}

/** Where its bytes stand: [place, whether they are there]. */
function placesOf(row) {
	const file = row.card ? row : known.cardOf.get(row.id);
	const places = file || row.received_by === "card" ? [["card", Boolean(file) && file.state !== "gone"]] : [];
	const proven = row.shown === "verified" && row.code !== "object_gone";
	return [...places, ["disk", row.local === "kept"], ["bucket", proven]];
}

function marks(node, row) {
	const places = placesOf(row);
	const told = places.join();
	if (node.told === told) return;
	node.told = told;
	const there = places.filter(([, is]) => is).map(([place]) => place);
	node.setAttribute("aria-label", there.length ? `On: ${there.join(", ")}` : "Nowhere any more");
	const mark = ([place, is]) => make("i", { class: is ? "there" : "not" }, `${is ? "●" : "○"} ${place}`);
	node.replaceChildren(...places.map(mark));
}

/** It has changed and stays in place. */
function repaint(row) {
	const node = list.nodes.get(`r${row.id}`);
	if (node) fillRow(node, row);
	if (shown === `log/${row.id}`) details();
}

function countdowns() {
	if (known.status && !known.awaySince) sinceAndEnds(known.status);
	for (const node of list.nodes.values()) {
		if (node.row?.due) setText(node.why, whyOf(node.row));
	}
}

function measure() {
	const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
	const look = getComputedStyle($("list"));
	for (const kind of ["flight", "row"]) list.heights[kind] = rem * parseFloat(look.getPropertyValue(`--${kind}-h`));
	arrange();
}

function choose(state, text) {
	Object.assign(filter, { state, text });
	if (scrollY > $("filter").offsetTop) $("filter").scrollIntoView();
	if (known.status) chips(known.status.counts);
	arrange();
}

/** Arrow keys go from log to log. */
function step(event) {
	const way = { ArrowDown: 1, ArrowUp: -1 }[event.key];
	const here_ = document.activeElement.closest("#list > li");
	if (!way || !here_) return;
	event.preventDefault();
	let index = list.items.findIndex((item) => keyOf(item) === here_.key) + way;
	if (list.items[index]?.rows) index += way;
	const item = list.items[index];
	if (!item) return;
	const y = list.tops[index] + $("list").getBoundingClientRect().top;
	const room = list.heights.row;
	if (y < room) scrollBy(0, y - room);
	if (y + 2 * room > innerHeight) scrollBy(0, y + 2 * room - innerHeight);
	draw(false);
	list.nodes.get(keyOf(item))?.link.focus({ preventScroll: true });
}

// -- the details of one log

let shown = ""; // "log/42", "card/7", or nothing
let journal = null;

function inDetails() {
	const [kind, id] = shown.split("/");
	return kind === "log" ? known.rows.get(Number(id)) : known.card.find((file) => file.id === Number(id));
}

/** What the address names is shown: so a phone's way back closes it. */
async function follow() {
	const named = /^#((?:log|card)\/\d+)$/.exec(location.hash)?.[1] ?? "";
	if (!named) {
		$("details").close();
		return;
	}
	shown = named;
	journal = null;
	const fetched = inDetails() || named.startsWith("card") || ask("GET", named.replace("log", "outbox"));
	const row = await Promise.resolve(fetched).catch(quiet);
	if (row?.state && !inDetails()) takeRows([row]);
	if (!inDetails()) return;
	$("details").replaceChildren();
	details();
	if (!$("details").open) $("details").showModal();
	$("details").querySelector("h2").focus();
	$("details").scrollTop = 0;
}

async function loadJournal(row) {
	const about = `${row.id} ${row.state} ${row.attempts} ${row.key}`;
	if (journal?.about === about) return;
	journal = { about, events: journal?.events ?? [] };
	const told = await ask("GET", `outbox/${row.id}/journal`).catch(quiet);
	if (told && shown === `log/${row.id}`) {
		journal.events = told.events;
		details();
	}
}

function details() {
	const row = inDetails();
	if (!row) return;
	const [word, look] = STATES[row.shown] ?? ["dismissed", "none"];
	$("details").dataset.tone = look;
	const close = () => make("button", { type: "button", onclick: () => $("details").close() }, "Close");
	const title = () => make("h2", { id: "details-title", tabIndex: -1 }, row.title);
	section("head", row.title, () => make("header", {}, title(), close()));
	section("tell", word + whyOf(row), () => make("p", { class: "tell" }, `${capital(word)}. ${whyOf(row)}`));
	const sent = doneOf(row);
	const told = `${size(sent)} of ${size(row.size)} ${row.card ? "fetched" : "sent"}`;
	const bar = () => make("progress", { max: row.size || 1, value: sent, "aria-label": row.card ? "Fetched" : "Sent" });
	const done = !row.card && !isOpen(row);
	section("bar", done || sent, () => make("div", {}, ...(done ? [] : [bar(), make("p", { class: "muted" }, told)])));
	const may = actionsOf(row);
	section("do", may.map(([name]) => name).join(), () => make("div", { class: "buttons" }, ...may.map(actionButton)));
	section("said", "", () => make("div", { class: "said", role: "status" }));
	const facts = factsAbout(row);
	section("facts", facts.join(), () => titled("About this log", pairs(facts)));
	const receipt = row.receipt;
	if (receipt) section("receipt", receipt.verified_at, () => titled("Receipt", pairs(receiptFacts(receipt))));
	if (row.card) return;
	loadJournal(row);
	section("history", JSON.stringify(journal.events), () => titled("History", historyOf(journal.events)));
}

const part = (name) => [...$("details").children].find((child) => child.part_ === name);

/** A part of the details, made anew when what it says has changed. */
function section(name, told, build) {
	const before = part(name);
	if (before && before.told === String(told)) return;
	const held = before?.contains(document.activeElement);
	const made = build();
	Object.assign(made, { part_: name, told: String(told) });
	if (before) before.replaceWith(made);
	else $("details").append(made);
	if (held) $("details").querySelector("h2").focus();
}

const titled = (title, node) => make("div", {}, make("h3", {}, title), node);
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

function pairs(facts) {
	const told = facts.filter(([, value]) => value);
	return make("dl", {}, ...told.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
}

function factsAbout(row) {
	const words = { card: "on the card", disk: "on this disk", bucket: "proven in the bucket" };
	const places = placesOf(row).map(([place, is]) => (is ? "" : "not ") + words[place]);
	return [
		["Where it stands", capital(places.join(", "))],
		["Key", row.key],
		[row.card ? "On the card" : "File", row.path],
		["Size", `${size(row.size)} (${row.size.toLocaleString("en-GB")} bytes)`],
		["Log's own time", stamp(row.time)],
		["Duration", row.duration_s && span(row.duration_s)],
		["Kind", row.kind],
		["Verdict", row.verdict?.replaceAll("_", " ")],
		["Flight", row.flight],
		["Session", row.session_id],
		["Came in", CAME_IN[row.received_by]],
		["Entered", row.entered_at && moment(Date.parse(row.entered_at))],
		["Attempts", row.attempts],
		["Parts sent", row.parts_sent],
		["Of these again", row.parts_resent],
		["Priority", row.priority],
		["Kept here", row.pinned && "pinned: as long as the disk allows"],
		["Same bytes as", row.same_as && `log ${row.same_as}`],
		["Log number", row.card ? "" : row.id],
	];
}

const receiptFacts = (receipt) => [
	["Proven", stamp(1000 * receipt.verified_at)],
	["By", PROOFS[receipt.proof]],
	["Checksum", receipt.checksum],
	["ETag", receipt.etag],
];

function historyOf(events) {
	const steps = events.map((event) => {
		const at = event.s3_time ?? event.device_time;
		const when = make("time", { dateTime: at }, stamp(Date.parse(at)));
		return make("li", {}, when, capital(event.event), make("span", { class: "muted" }, ` ${event.reason}`));
	});
	return make("ol", { class: "history" }, ...steps);
}

// -- changes

/** What can be done with a log: [word, what it does, what has to be confirmed]. */
function actionsOf(row) {
	const { id, state } = row;
	if (row.card) {
		const may = mayChange() && !["proven", "gone", "fetching"].includes(state);
		return may ? [["Fetch now", () => change("POST", `card/${id}/fetch`, "It will be fetched.")]] : [];
	}
	const read = [
		["Download", `bucket/download/${encodeKey(row.key)}`],
		["Link …", () => presign(row)],
	];
	const lost = "It will not be sent; what was sent of it is dropped. Its file stays.";
	const changes = [
		[state === "queued", "Try now", "POST", "/retry", "It is tried now."],
		[state === "dead" || state === "cancelled", "Try again", "POST", "/retry", "Its file is examined again."],
		[state === "verified", "Send again if gone", "POST", "/resend", "It will be sent again."],
		[row.local === "kept" && !row.pinned, "Keep the file", "POST", "/pin", "Its file stays as long as it can."],
		[row.pinned, "Let the file go", "DELETE", "/pin", "Its file may go when its time comes."],
		[state === "dead", "Dismiss", "POST", "", "It is no longer counted nor shown."],
		[isOpen(row), "Cancel …", "DELETE", "", "It is cancelled.", lost],
	];
	const fitting = mayChange() ? changes.filter(([fits]) => fits) : [];
	return [
		...(state === "verified" ? read : []),
		...fitting.map(([, word, method, path, done, sure]) => [
			word,
			() => (word === "Dismiss" ? dismiss([id]) : change(method, `outbox/${id}${path}`, done)),
			sure,
		]),
	];
}

const encodeKey = (key) => key.split("/").map(encodeURIComponent).join("/");

function actionButton([word, does, sure]) {
	if (typeof does === "string")
		return make("a", { class: "button", href: new URL(does, BASE).href, download: "" }, word);
	const button = make("button", { type: "button" }, word);
	button.onclick = () => (sure ? confirmed(button, word.replace(" …", ""), sure, does) : busy(button, does));
	return button;
}

/** Ask once more, in its place. */
function confirmed(button, word, sure, does) {
	const yes = make("button", { type: "button", class: "bad" }, `${word} it`);
	const no = make("button", { type: "button" }, "Keep it");
	const asked = make("span", { class: "buttons" }, sure, yes, no);
	const back = () => asked.replaceWith(button);
	yes.onclick = () => busy(yes, () => does().finally(back));
	no.onclick = () => {
		back();
		button.focus();
	};
	button.replaceWith(asked);
	no.focus();
}

async function busy(button, does) {
	button.disabled = true;
	try {
		await does();
	} catch (trouble) {
		quiet(trouble);
		if (trouble.status === 401) stream.abort();
		say(trouble.message, true);
	}
	button.disabled = false;
}

async function change(method, path, done) {
	const asked = performance.now();
	const row = await ask(method, path);
	await (row.key ? takeAnswer(row, asked) : loadCard());
	say(done);
	details();
}

/** These dead logs, or all of them. */
async function dismiss(ids) {
	const told = await ask("POST", "outbox/dismiss", ids ? { ids } : { state: "dead" });
	for (const row of known.rows.values()) {
		if (ids ? ids.includes(row.id) : row.state === "dead") known.rows.delete(row.id);
	}
	$("details").close();
	$("state-").firstChild.checked = true;
	choose("", "");
	say(`${many(told.dismissed, "log")} dismissed.`);
}

async function presign(row) {
	part("link")?.remove();
	const made = await ask("GET", `bucket/presign/${encodeKey(row.key)}?expires=3600`);
	const label = "Link to the log in the bucket";
	const field = make("input", { readOnly: true, value: made.url, "aria-label": label });
	const copy = make("button", { type: "button" }, "Copy");
	copy.onclick = async () => {
		field.select();
		// Over plain http there is no clipboard; the old command works.
		const write = navigator.clipboard?.writeText(made.url) ?? Promise.reject();
		await write.catch(() => document.execCommand("copy"));
		say("Copied.");
	};
	const until = `Whoever has it can read this log until ${moment(Date.parse(made.expires_at))}.`;
	const line = make("div", { class: "link" }, field, copy);
	const box = make("div", {}, line, make("p", { class: "muted" }, until));
	box.part_ = "link";
	part("do").after(box);
	field.focus();
}

async function lookNow() {
	const { found, enqueued, reason, trouble } = await ask("POST", "landed");
	const said = found ? `${many(found, "new file")}, ${enqueued} taken at once.` : "No new file.";
	say(`${said} ${reason} ${trouble}`);
	if (known.status.card) await ask("POST", "card/scan").then(loadCard);
}

function dismissAll() {
	const button = make("button", { type: "button" }, "Dismiss them all …");
	const sure = "They are no longer counted nor shown; their files stay.";
	button.onclick = () => confirmed(button, "Dismiss", sure, dismiss);
	$("all-dead").replaceChildren(button);
}

/** Tell what was done; in the details where they are open. */
function say(text, wrong = false) {
	const place = $("details").open ? $("details").querySelector(".said") : $("said");
	const told = make("p", { class: wrong ? "error" : "done" }, text);
	place.replaceChildren(told);
	setTimeout(() => told.remove(), wrong ? 15_000 : 6_000);
}

// -- files that are added

const adding = [];

function add(files) {
	if (!mayChange()) {
		say("Nothing can be added now.", true);
		return;
	}
	const idle = adding.length === 0;
	for (const file of files) {
		const bar = make("progress", { max: 1, value: 0, "aria-label": `Copied of ${file.name}` });
		const told = make("span", {}, `${file.name} waits`);
		const node = make("li", {}, told, bar);
		$("uploads").append(node);
		adding.push({ file, bar, told, node });
	}
	if (idle) addNext();
}

async function addNext() {
	while (adding.length) {
		const { file, bar, told, node } = adding[0];
		setText(told, `Copying ${file.name} to the robot (${size(file.size)})`);
		const asked = performance.now();
		try {
			const row = await send(file, (share) => {
				bar.value = share;
			});
			await takeAnswer(row, asked);
			node.remove();
			say(`${file.name} is in the outbox: it is sent from here on its own.`);
		} catch (trouble) {
			bar.remove();
			told.className = "error";
			setText(told, `${file.name}: ${trouble.message}`);
			node.append(make("button", { type: "button", onclick: () => node.remove() }, "Close"));
		}
		adding.shift();
	}
}

function send(file, onShare) {
	const form = new FormData();
	form.append("file", file, file.name);
	const request = new XMLHttpRequest(); // fetch tells no progress of what it sends
	request.open("POST", new URL("bucket/upload?wait=false", BASE));
	request.responseType = "json";
	request.upload.onprogress = (event) => onShare(event.loaded / event.total);
	return new Promise((done, fail) => {
		request.onerror = () => fail(NO_ANSWER());
		request.onload = () =>
			request.status < 300 ? done(request.response) : fail(troubleOf(request.status, request.response ?? {}));
		request.send(form);
	});
}

function takeDrops() {
	let depth = 0;
	const take = (kind, depthAfter) => {
		on(window, kind, (event) => {
			if (!event.dataTransfer?.types.includes("Files")) return;
			event.preventDefault();
			depth = depthAfter(depth);
			$("drop").hidden = depth <= 0 || !mayChange();
			if (kind === "drop") add(event.dataTransfer.files);
		});
	};
	take("dragenter", (now) => now + 1);
	take("dragleave", (now) => now - 1);
	take("dragover", (now) => now);
	take("drop", () => 0);
	on(window, "beforeunload", (event) => {
		if (adding.length) event.preventDefault();
	});
}

// -- the login, kept in a cookie

const HAS_TOKEN = "petal-s3 asked for its token";

async function login() {
	$("robot").hidden = true;
	$("login").hidden = false;
	$("logout").hidden = true;
	$("away").hidden = true;
	setText($("as-of"), "A token is needed");
	$("details").close();
	$("plain-http").hidden = isSecureContext; // https, or this very machine
	$("token").focus();
	await new Promise((done) => {
		const enter = () => ask("POST", "login", { token: $("token").value }).then(done, refused);
		$("login-form").onsubmit = (event) => {
			event.preventDefault();
			busy($("login-form").querySelector("button"), enter);
		};
	});
	$("token").value = "";
	setText($("login-error"), "");
	remember(true);
}

function refused(trouble) {
	quiet(trouble);
	setText($("login-error"), trouble.status === 401 ? "That is not the token of this robot." : trouble.message);
}

async function logout() {
	await ask("POST", "logout");
	remember(false);
	location.reload();
}

function remember(has) {
	$("logout").hidden = !has;
	kept((storage) => (has ? storage.setItem(HAS_TOKEN, "1") : storage.removeItem(HAS_TOKEN)));
}

/** What the browser keeps for this page; it may keep nothing. */
function kept(what) {
	try {
		return what(localStorage);
	} catch {
		return null;
	}
}

// -- the start

function start() {
	$("logout").hidden = !kept((storage) => storage.getItem(HAS_TOKEN));
	$("notes").open = $("day").open = matchMedia("(min-width: 60rem)").matches;
	measure();
	dismissAll();
	takeDrops();
	on(window, "scroll", () => draw(false));
	on(window, "resize", measure);
	on(window, "hashchange", follow);
	on($("list"), "keydown", step);
	on($("filter"), "submit", (event) => event.preventDefault());
	on($("states"), "change", (event) => choose(event.target.value, filter.text));
	on($("text"), "input", () => choose(filter.state, $("text").value.trim().toLowerCase()));
	on($("details"), "close", () => {
		shown = "";
		if (location.hash) history.replaceState(null, "", location.pathname + location.search);
	});
	on($("details"), "click", (event) => {
		if (event.target === $("details") && event.offsetX < 0) $("details").close();
	});
	on($("look"), "click", () => busy($("look"), lookNow));
	on($("logout"), "click", () => busy($("logout"), logout));
	on($("add"), "click", () => $("file").click());
	on($("file"), "change", () => {
		add($("file").files);
		$("file").value = "";
	});
	setInterval(everySecond, 1_000);
	live();
}

// The first picture comes before the first question.
requestAnimationFrame(() => setTimeout(start));
