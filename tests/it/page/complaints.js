// What a checker for accessibility would complain of, as sentences.
const complaints = [];
const complain = (what, element) =>
    complaints.push(what + ": " + (element ? element.outerHTML.slice(0, 200) : ""));
const all = (selector) => [...document.querySelectorAll(selector)];
const named = (element) => {
    const by = element.getAttribute("aria-labelledby");
    const text = by ? by.split(" ").map((id) => document.getElementById(id)?.textContent ?? "").join("")
        : (element.getAttribute("aria-label") ?? "");
    return text.trim() !== "";
};
if (document.documentElement.lang !== "en") complain("no language");
if (!document.title.includes("recording-archiver")) complain("no title");
for (const landmark of ["header", "main", "footer", "form[role=search]"])
    if (all(landmark).length !== 1) complain("not one " + landmark);
for (const nav of all("nav")) if (!named(nav)) complain("nav without name", nav);
if (all("h1").length !== 1) complain("not one h1");
let level = 0;
for (const heading of all("h1, h2, h3, h4")) {
    const its = Number(heading.tagName[1]);
    if (its > level + 1) complain("a level of headings is left out", heading);
    if (!heading.textContent.trim()) complain("empty heading", heading);
    level = its;
}
for (const table of all("table")) {
    if (!table.caption?.textContent.trim()) complain("table without caption", table);
    for (const th of table.querySelectorAll("th"))
        if (!["col", "row"].includes(th.scope)) complain("th without scope", th);
    const columns = table.tHead.rows[0].cells.length;
    for (const row of table.tBodies[0].rows) {
        if (row.cells.length !== columns) complain("ragged row", row);
        if (row.cells[0].tagName !== "TH") complain("row without heading", row);
    }
}
for (const svg of all("svg:not([aria-hidden=true])")) {
    if (svg.getAttribute("role") !== "img" || !named(svg)) complain("svg without name", svg);
    if (!svg.querySelector("title")?.textContent || !svg.querySelector("desc")?.textContent)
        complain("svg without title or description", svg);
}
for (const region of all("[role=region], meter, progress")) if (!named(region)) complain("no name", region);
for (const section of all("section")) if (!named(section)) complain("section without name", section);
for (const input of all("input")) if (!input.labels.length) complain("input without label", input);
for (const a of all("a")) {
    if (!a.textContent.trim()) complain("empty link", a);
    const href = a.getAttribute("href");
    const target = href.includes("#") && a.pathname === location.pathname && a.search === location.search
        ? document.getElementById(href.split("#")[1]) : true;
    if (!target) complain("leads nowhere", a);
}
const ids = all("[id]").map((element) => element.id);
for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) complain("id twice: " + id);
const luminance = (colour) => {
    const [r, g, b] = colour.match(/[\d.]+/g).slice(0, 3).map((part) => part / 255)
        .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ground = (element) => {
    for (let it = element; it; it = it.parentElement) {
        const colour = getComputedStyle(it).backgroundColor;
        if (!/, 0\)$|transparent/.test(colour)) return colour;
    }
    return "rgb(255, 255, 255)";
};
for (const element of all("main *, header *, footer *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || element.closest("svg") || !element.checkVisibility()) continue;
    const [a, b] = [luminance(getComputedStyle(element).color), luminance(ground(element))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) complain("contrast " + contrast.toFixed(2), element);
}
return [...new Set(complaints)];
