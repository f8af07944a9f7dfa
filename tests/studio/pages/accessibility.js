// What is wrong with a page for who reads it by keyboard, by ear, on a phone or with weak eyes. Returns texts.
() => {
  const faults = [];
  const name = (element) => `${element.tagName.toLowerCase()}${element.id ? `#${element.id}` : ""} “${element.textContent.trim().slice(0, 30)}”`;
  const shown = (element) => element.checkVisibility({ visibilityProperty: true }) && element.getClientRects().length > 0;
  const all = (selector) => [...document.querySelectorAll(selector)].filter(shown);
  const labelled = (element) =>
    (element.labels && element.labels.length) || element.getAttribute("aria-label") || element.getAttribute("title");

  if (!document.documentElement.lang) faults.push("the page has no language");
  if (!document.title.trim()) faults.push("the page has no title");
  if (all("h1").length !== 1) faults.push(`${all("h1").length} headings of the first level`);
  let level = 0;
  for (const heading of all("h1, h2, h3, h4")) {
    const next = Number(heading.tagName[1]);
    if (next > level + 1) faults.push(`heading skips a level: ${name(heading)}`);
    level = next;
  }
  for (const image of all("img")) if (!image.alt) faults.push(`image without a text: ${image.src.slice(0, 40)}`);
  for (const svg of all("svg")) {
    if (!svg.getAttribute("aria-label") && svg.getAttribute("aria-hidden") !== "true") faults.push("drawing without a text");
  }
  for (const field of all("input, select, textarea")) if (!labelled(field)) faults.push(`field without a label: ${name(field)}`);
  for (const control of all("a, button, summary")) {
    const images = [...control.querySelectorAll("img")].map((image) => image.alt).join("");
    if (!(control.textContent.trim() || images || labelled(control))) faults.push(`control without a name: ${name(control)}`);
    const box = control.getBoundingClientRect();
    const inText = getComputedStyle(control).display === "inline";
    if (!inText && Math.min(box.width, box.height) < 24) faults.push(`control is ${box.width}×${box.height}: ${name(control)}`);
  }
  for (const label of document.querySelectorAll("label[for]")) {
    if (!document.getElementById(label.htmlFor)) faults.push(`label of nothing: ${name(label)}`);
  }
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  for (const id of new Set(ids)) if (ids.filter((one) => one === id).length > 1) faults.push(`id used twice: ${id}`);
  for (const list of all("ul, ol")) {
    if ([...list.children].some((child) => child.tagName !== "LI")) faults.push(`list with more than items: ${name(list)}`);
  }
  for (const head of all("th")) if (!head.scope) faults.push(`heading of a table without scope: ${name(head)}`);
  for (const area of all("*")) {
    const style = getComputedStyle(area);
    const scrolls = area.scrollWidth > area.clientWidth + 1 && ["auto", "scroll"].includes(style.overflowX);
    const can = area.tabIndex >= 0 || area.querySelector("a, button, input, select, textarea");
    if (scrolls && !can) faults.push(`area that scrolls but takes no focus: ${name(area)}`);
    if (area.tabIndex > 0) faults.push(`tabindex above 0: ${name(area)}`);
  }
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) faults.push(`the page is ${root.scrollWidth} wide in a window of ${root.clientWidth}`);

  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const colour = (text) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = text;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const found = colour(getComputedStyle(at).backgroundColor);
      if (found[3] === 255) return found;
    }
    return [255, 255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    if (!text || !shown(element) || element.closest("script, noscript, :disabled, .unseen, option, datalist")) continue;
    const style = getComputedStyle(element);
    const drawn = element.closest("svg") ? style.fill : style.color;
    const [a, b] = [light(colour(drawn)), light(ground(element))].sort((x, y) => y - x);
    const size = parseFloat(style.fontSize);
    const least = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < least) faults.push(`contrast ${ratio.toFixed(2)} below ${least}: “${text.slice(0, 30)}”`);
  }
  return [...new Set(faults)];
}
