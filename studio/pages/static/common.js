"use strict";
// What all pages share. Plain scripts, not modules, because a page that is opened as a file may load no module.
const rlrig = {};

(() => {
  const TOKEN = "rlrig-token";

  /** A new element; `attributes` that are null or undefined are left out, `children` are nodes or texts. */
  rlrig.make = (name, attributes = {}, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (value !== null && value !== undefined) element.setAttribute(key, value);
    }
    element.append(...children);
    return element;
  };

  /** Ask the service, with the token where one was given. */
  rlrig.ask = (address, options = {}) => {
    const token = sessionStorage.getItem(TOKEN);
    const headers = { ...(options.headers || {}), ...(token ? { Authorization: `Bearer ${token}` } : {}) };
    return fetch(address, { ...options, headers });
  };

  /** What went wrong, for a person to read: {title, lines}. */
  rlrig.problemOf = (answered, body, retryAfter) => {
    const error = (body && body.error) || {};
    const status = { service_unavailable: 503, turn_timeout: 504 }[error.code] || answered; // a stream has one status
    const titles = {
      401: "The service needs an access token, or the one that was given is wrong",
      403: "The service refuses requests from here",
      404: "That is not there",
      413: "The request is too large",
      422: "The scene could not be read",
      429: "Too many requests are under way",
      503: "The service cannot answer now",
      504: "A turn took too long",
    };
    const lines = [];
    if (error.understood || error.not_understood) {
      lines.push(`Understood: ${(error.understood || []).join("; ") || "nothing"}`);
      for (const one of error.not_understood || []) lines.push(`Not understood: “${one.text}”: ${one.reason}`);
    } else if (error.message) {
      lines.push(error.message);
    }
    if (retryAfter) lines.push(`Try again in ${retryAfter} s.`);
    if (status === 401) rlrig.showToken();
    return { title: titles[status] || (status >= 500 ? "The service failed" : "The request was refused"), lines };
  };

  /** The problem that an answer tells. */
  rlrig.problemIn = async (response) => {
    const text = await response.text();
    let body = null;
    if ((response.headers.get("content-type") || "").includes("json")) {
      try {
        body = JSON.parse(text);
      } catch {
        body = { error: { message: "Its answer was cut off." } };
      }
    }
    return rlrig.problemOf(response.status, body, response.headers.get("retry-after"));
  };

  rlrig.unreachable = () => ({
    title: "The service does not answer",
    lines: ["It was stopped, or the network is down. Try again."],
  });

  rlrig.showProblem = (place, problem) => {
    const list = rlrig.make("ul", {}, ...problem.lines.map((line) => rlrig.make("li", {}, line)));
    place.replaceChildren(rlrig.make("strong", {}, problem.title), ...(problem.lines.length ? [list] : []));
    place.classList.add("bad");
    place.hidden = false;
  };

  const form = document.getElementById("token-form");
  rlrig.showToken = () => {
    if (form) form.hidden = false;
  };
  if (form) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const field = document.getElementById("token");
      sessionStorage.setItem(TOKEN, field.value.trim());
      field.value = "";
      form.hidden = true;
      document.dispatchEvent(new CustomEvent("rlrig-token"));
    });
    if (sessionStorage.getItem(TOKEN) === null) form.hidden = true;
  }
})();
