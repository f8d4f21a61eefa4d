// The form works without this script; with it, limits that follow from a choice show at once.
// The server checks everything again.
"use strict";

(() => {
  // Follows the fields of one cluster; returns what takes them up as they are.
  function follow(root) {
    const controls = new Map(
      [...root.querySelectorAll("[data-field]")].map((control) => [control.dataset.field, control]),
    );
    // What the person chose: it comes back when a limit that forbade it is gone.
    const wanted = new Map();
    const largest = new Map([...controls].map(([name, control]) => [name, Number(control.max) || Infinity]));

    // Only fields that some choice limits are touched.
    const numeric = new Set(
      [...root.querySelectorAll("[data-limits]")].flatMap((option) =>
        Object.keys(JSON.parse(option.dataset.limits)),
      ),
    );

    const part = (control, name) => document.getElementById(`${control.id}-${name}`);
    const chosen = (control) => control.selectedOptions?.[0];

    function words(name, number) {
      if (name !== "time") {
        return `${number}`;
      }
      const hours = Math.floor(number / 60);
      const minutes = number % 60;
      if (!hours) {
        return `${minutes} ${minutes === 1 ? "minute" : "minutes"}`;
      }
      if (!minutes) {
        return `${hours} ${hours === 1 ? "hour" : "hours"}`;
      }
      return `${hours} h ${minutes} min`;
    }

    // ---- limits: a choice may say how much of another field goes with it

    function limits() {
      const found = new Map();
      for (const control of controls.values()) {
        const option = chosen(control);
        const label = control.labels[0].textContent.toLowerCase();
        for (const [name, most] of Object.entries(JSON.parse(option?.dataset.limits ?? "{}"))) {
          found.set(name, { most, where: `in ${label} ${option.value}` });
        }
      }
      return found;
    }

    function withNodes(found) {
      const product = found.get("node_minutes");
      const nodes = Math.max(1, Number(controls.get("nodes")?.value) || 1);
      const most = product ? Math.floor(product.most / nodes) : Infinity;
      if (most < (found.get("time")?.most ?? Infinity)) {
        const on = nodes > 1 ? ` on ${nodes} nodes` : "";
        found.set("time", { most, where: `${product.where}${on}` });
      }
      return found;
    }

    function cap(control, limit, edited) {
      const name = control.dataset.field;
      const most = limit?.most ?? Infinity;
      const before = control.value;
      const wish = wanted.get(name);
      let cut = false;
      if (control.tagName === "SELECT") {
        const fitting = [];
        for (const option of control.options) {
          option.disabled = Number(option.value) > most;
          cut ||= option.disabled;
          if (!option.disabled) {
            fitting.push(option.value);
          }
        }
        if (fitting.length) {
          control.value = fitting.includes(wish)
            ? wish
            : fitting.reduce((one, other) => (Number(other) > Number(one) ? other : one));
        }
      } else {
        cut = most < largest.get(name);
        control.max = Math.min(most, largest.get(name));
        if (control !== edited) {
          control.value = Number(wish) > Number(control.max) ? control.max : wish;
        }
        control.dataset.allowed = `a whole number from ${control.min} to ${control.max}`;
      }
      const changed = control.value !== wish ? `, so not ${words(name, Number(wish))}` : "";
      if (control.value !== before) {
        forgive(control);
      }
      return cut ? `At most ${words(name, most)} ${limit.where}${changed}.` : "";
    }

    // ---- maintenance: a session that runs into it waits

    function maintenance(minutes) {
      const end = Date.now() / 1000 + 60 * minutes;
      for (const notice of root.querySelectorAll("[data-start]")) {
        const left = Math.floor((Number(notice.dataset.start) - Date.now() / 1000) / 60);
        if (Number(notice.dataset.start) < end) {
          const fits = left > 0 ? ` Until it begins there are ${words("time", left)}.` : "";
          const when = notice.dataset.begins;
          return `This runs into the maintenance of ${when}: the job would wait for its end.${fits}`;
        }
      }
      return "";
    }

    // ---- what goes with the environment only

    function belong() {
      const environment = controls.get("environment");
      for (const control of controls.values()) {
        const place = control.closest("[data-environments]");
        const goesWith = place?.dataset.environments.split(" ");
        const shown = !goesWith || !environment || goesWith.includes(environment.value);
        control.disabled = !shown;
        control.required = shown && "needed" in control.dataset;
        if (place) {
          place.hidden = !shown;
        }
      }
    }

    // ---- texts beside a field

    function say(control, name, text) {
      const place = part(control, name);
      if (place.textContent !== text) {
        place.textContent = text;
      }
    }

    function forgive(control) {
      control.classList.remove("is-invalid");
      control.removeAttribute("aria-invalid");
      say(control, "problem", "");
    }

    function update(edited) {
      belong();
      const found = limits();
      const notes = new Map();
      for (const [name, control] of controls) {
        if (name !== "time" && (control.type === "number" || numeric.has(name))) {
          notes.set(control, cap(control, found.get(name), edited));
        }
      }
      const time = controls.get("time");
      if (time) {
        const cut = cap(time, withNodes(found).get("time"), edited);
        notes.set(time, [cut, maintenance(Number(time.value))].filter(Boolean).join(" "));
      }
      for (const [control, text] of notes) {
        say(control, "note", text);
      }
      for (const hint of root.querySelectorAll("[data-choice]")) {
        hint.hidden = hint.dataset.choice !== controls.get(hint.dataset.of).value;
      }
    }

    root.addEventListener("input", ({ target }) => {
      if (!("field" in target.dataset)) {
        return;
      }
      wanted.set(target.dataset.field, target.value);
      forgive(target);
      update(target);
    });

    root.addEventListener(
      "invalid",
      (event) => {
        const control = event.target;
        event.preventDefault();
        control.closest("details")?.setAttribute("open", "");
        control.classList.add("is-invalid");
        control.setAttribute("aria-invalid", "true");
        const verb = control.validity.valueMissing ? "is needed:" : "must be";
        say(control, "problem", `${verb} ${control.dataset.allowed}`);
        if (root.querySelector("input:invalid") === control) {
          control.focus();
        }
      },
      true,
    );

    return () => {
      for (const [name, control] of controls) {
        wanted.set(name, control.value);
      }
      update();
    };
  }

  const form = document.getElementById("launcher-form");
  const clusters = [...form.querySelectorAll(".launcher-cluster")];
  const panels = clusters.map((cluster) => cluster.querySelector("fieldset"));
  const refresh = (panels.length ? panels : [form]).map(follow);

  // What belongs to another cluster is neither checked nor sent.
  function choose() {
    for (const cluster of clusters) {
      cluster.querySelector("fieldset").disabled = !cluster.querySelector("[name=cluster]").checked;
    }
  }

  form.addEventListener("change", choose);

  // A browser that goes back in its history brings back what was filled in, and tells nobody.
  window.addEventListener("pageshow", () => {
    choose();
    refresh.forEach((each) => each());
  });

  form.classList.add("launcher-scripted");
})();
