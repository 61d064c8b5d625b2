"use strict";
(async () => {
  const $ = (id) => document.getElementById(id);
  const root = document.documentElement;
  const SVG = "http://www.w3.org/2000/svg";
  const PAGE = 50;

  // Colors by role. Series: Okabe and Ito's palette, in order of contrast with the background.
  const PALETTES = {
    light: {
      "@1": "#0072b2", "@2": "#d55e00", "@3": "#009e73", "@4": "#cc79a7", "@5": "#e69f00",
      "@6": "#56b4e9", "@ink": "#1b2026", "@soft": "#59636e", "@muted": "#8a949e",
      "@faint": "#c9d0d7", "@rule": "#e6e9ed", "@paper": "#ffffff",
      "@sequential": [[0, "#f1f5f9"], [0.35, "#a9cde4"], [0.7, "#3d8fc4"], [1, "#00456f"]],
    },
    dark: {
      "@1": "#56b4e9", "@2": "#d55e00", "@3": "#009e73", "@4": "#cc79a7", "@5": "#e69f00",
      "@6": "#f0e442", "@ink": "#e6eaef", "@soft": "#9aa5b1", "@muted": "#828d99",
      "@faint": "#3f4954", "@rule": "#2a323b", "@paper": "#1a1f26",
      "@sequential": [[0, "#202832"], [0.35, "#22506e"], [0.7, "#3d93c6"], [1, "#c3e6fb"]],
    },
  };

  // ---- theme ------------------------------------------------------------------------------
  const system = matchMedia("(prefers-color-scheme: dark)");
  let picked = null;
  let printing = false;
  const theme = () => (printing ? "light" : picked || (system.matches ? "dark" : "light"));
  const showTheme = () => { root.dataset.theme = theme(); };
  showTheme();

  // ---- definitions ------------------------------------------------------------------------
  const tip = $("tip");
  let termed = null;
  const showTip = (term) => {
    termed = term;
    tip.textContent = term.dataset.tip;
    tip.hidden = false;
    const box = term.getBoundingClientRect();
    const room = root.clientWidth - tip.offsetWidth - 12;
    const under = box.bottom + 8 + tip.offsetHeight < innerHeight;
    tip.style.left = `${Math.max(12, Math.min(box.left, room)) + scrollX}px`;
    tip.style.top = `${(under ? box.bottom + 8 : box.top - tip.offsetHeight - 8) + scrollY}px`;
    term.setAttribute("aria-describedby", "tip");
  };
  const hideTip = () => {
    if (termed) termed.removeAttribute("aria-describedby");
    termed = null;
    tip.hidden = true;
  };
  for (const [on, off] of [["mouseover", "mouseout"], ["focusin", "focusout"]]) {
    document.addEventListener(on, (e) => { const t = e.target.closest(".term"); if (t) showTip(t); });
    document.addEventListener(off, (e) => { if (e.target.closest(".term")) hideTip(); });
  }
  document.addEventListener("keydown", (e) => { if (e.key === "Escape") hideTip(); });

  // ---- download of tables -----------------------------------------------------------------
  // A text that a spreadsheet would run as a formula gets an apostrophe, as in `sweeps export`.
  const escapedCell = (text) => {
    const safe = /^[=+\-@\t\r]/.test(text) && !/^[+-]?(\d+\.?\d*|\.\d+)$/.test(text) ? `'${text}` : text;
    return `"${safe.replaceAll('"', '""')}"`;
  };
  const csvOf = (table) => [...table.rows]
    .map((row) => [...row.cells].map((cell) => escapedCell(cell.textContent.trim())).join(","))
    .join("\r\n") + "\r\n";
  for (const scroll of document.querySelectorAll(".scroll")) {
    const table = scroll.querySelector("table");
    if (!table) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "quiet csv";
    button.textContent = "Download CSV";
    button.addEventListener("click", () => {
      const home = scroll.closest("figure, .panel");
      const title = (home && home.id) || (home && home.querySelector("h3") || document.querySelector("h1")).textContent;
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob(["\ufeff" + csvOf(table)], { type: "text/csv" }));
      link.download = `${title.trim().toLowerCase().replace(/[^a-z0-9]+/g, "-")}.csv`;
      link.click();
      URL.revokeObjectURL(link.href);
    });
    scroll.after(button);
  }

  // ---- navigation -------------------------------------------------------------------------
  const links = [...document.querySelectorAll("nav a")];
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const a of links) {
        if (a.hash === `#${entry.target.id}`) a.setAttribute("aria-current", "true");
        else a.removeAttribute("aria-current");
      }
    }
  }, { rootMargin: "-20% 0px -70% 0px" });
  document.querySelectorAll("main > section").forEach((s) => seen.observe(s));

  // ---- data -------------------------------------------------------------------------------
  const unpack = async (id) => {
    const bytes = Uint8Array.from(atob($(id).textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  };
  $("theme").addEventListener("click", () => {
    picked = theme() === "dark" ? "light" : "dark";
    redraw();
  });
  let redraw = showTheme;
  if (!$("plotly")) { root.dataset.ready = "true"; return; }
  if (typeof DecompressionStream === "undefined") {
    $("old").hidden = false;
    root.dataset.ready = "true";
    return;
  }
  const data = JSON.parse(await unpack("data"));
  const code = document.createElement("script");
  code.textContent = await unpack("plotly");
  document.head.append(code);
  const Plotly = window.Plotly;

  // ---- figures ----------------------------------------------------------------------------
  const colored = (value, palette) => {
    if (typeof value === "string") return value[0] === "@" && palette[value] ? palette[value] : value;
    if (Array.isArray(value)) return value.map((v) => colored(v, palette));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, colored(v, palette)]));
    }
    return value;
  };
  const styled = (spec) => {
    const palette = PALETTES[theme()];
    const { data: traces, layout } = colored(spec, palette);
    const font = { family: getComputedStyle(document.body).fontFamily, size: 13, color: palette["@soft"] };
    const axis = {
      gridcolor: palette["@rule"], linecolor: palette["@faint"], tickcolor: palette["@faint"],
      title: { font: { ...font, color: palette["@ink"] } },
    };
    const full = {
      ...layout, font, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      autosize: true, dragmode: false,
      hoverlabel: {
        bgcolor: palette["@ink"], bordercolor: palette["@ink"], align: "left",
        font: { ...font, color: palette["@paper"] }, namelength: -1,
      },
    };
    for (const name of ["xaxis", "yaxis"]) {
      const own = full[name] || {};
      full[name] = { ...axis, ...own, title: { ...axis.title, ...(own.title || {}) }, fixedrange: true };
    }
    return { traces, layout: full };
  };
  // Not `responsive`: it resets the height when a phone hides its address bar; see the end.
  const CONFIG = { responsive: false, displayModeBar: false, displaylogo: false, doubleClick: false };
  const draw = (element, spec) => {
    const { traces, layout } = styled(spec);
    if (!printing && element.clientWidth && element.clientWidth < 560) narrow(traces, layout);
    return Plotly.react(element, traces, layout, CONFIG);
  };
  // On a phone the label of a row is above the row, because the plot needs the whole width.
  const narrow = (traces, layout) => {
    if (!layout.yaxis || !layout.yaxis.ticktext) return;
    const { ticktext, tickvals } = layout.yaxis;
    layout.yaxis = { ...layout.yaxis, showticklabels: false };
    layout.height = 110 + (ticktext.some((t) => t.includes("<br>")) ? 72 : 56) * ticktext.length;
    layout.annotations = [...(layout.annotations || []), ...ticktext.map((text, k) => ({
      xref: "paper", x: 0, y: tickvals[k], yshift: 10, text, showarrow: false,
      xanchor: "left", yanchor: "bottom", align: "left", font: { size: 11.5 },
    }))];
  };
  const plots = [...document.querySelectorAll("[data-figure]")];
  const drawFigure = (element) => {
    if (!element.offsetParent) return;
    draw(element, data.figures[element.dataset.figure]);
    if (!element.dataset.listens) {
      element.dataset.listens = "true";
      element.on("plotly_click", (event) => {
        const id = event.points[0].customdata;
        if (typeof id === "string") open(id, true);
      });
    }
  };

  // ---- configurations ---------------------------------------------------------------------
  const explorer = data.explorer;
  const objectives = explorer.objectives;
  const configs = explorer.configs;
  const state = { view: explorer.views[0], shown: PAGE, ranges: {}, open: explorer.best };
  // One decimal as Python rounds it: toFixed rounds 62.25 up, Python to the even digit.
  const tenths = (value) => {
    const lower = Math.floor(value * 10);
    return Math.abs((value * 4) % 2) === 1 ? ((lower + Math.abs(lower % 2)) / 10).toFixed(1) : value.toFixed(1);
  };
  const fixed = (value, unit) => value === null ? "–"
    : unit === "%" ? tenths(value) : Math.round(value).toLocaleString("en");
  const meaned = ([mean, low, high], unit) => mean === null ? "–"
    : low === null || high === null ? fixed(mean, unit)
    : unit !== "%" ? `${fixed(mean, unit)} ± ${fixed((high - low) / 2, unit)}`
    : high - low > 60 ? `${fixed(mean, unit)} (too few runs)`
    : fixed(low, unit) === fixed(mean, unit) && fixed(high, unit) === fixed(mean, unit) ? `${fixed(mean, unit)} ± 0.0`
    : `${fixed(mean, unit)} (${fixed(Math.max(low, -100), unit)} to ${fixed(Math.min(high, 100), unit)})`;

  // An axis of the parallel coordinates: where a configuration crosses it, from 0 to 1.
  const axes = [
    ...explorer.axes.map((axis) => {
      const value = (row) => configs[row.id].factors[axis.path];
      const short = axis.path.split(".").pop();
      const place = (v) => (axis.values.length > 1 ? axis.values.indexOf(v) / (axis.values.length - 1) : 0.5);
      if (axis.numeric && axis.values.length > 8) {
        const low = Math.min(...axis.values), high = Math.max(...axis.values);
        const log = low > 0 && high / low >= 50;
        const scale = log ? Math.log : (v) => v;
        const at = (v) => (scale(v) - scale(low)) / (scale(high) - scale(low) || 1);
        return { name: short, full: axis.path, at: (row) => (typeof value(row) === "number" ? at(value(row)) : null),
          ticks: [[0, low], [1, high]] };
      }
      return { name: short, full: axis.path,
        at: (row) => (axis.values.includes(value(row)) ? place(value(row)) : null),
        ticks: axis.values.map((v) => [place(v), v]) };
    }),
    ...objectives.map((objective, k) => ({ name: objective.title, full: objective.name, objective: k,
      at: null, ticks: null })),
  ];
  const scaleObjectives = () => {
    for (const axis of axes.filter((a) => a.objective !== undefined)) {
      const k = axis.objective;
      const known = state.view.rows.map((r) => r.v[k][0]).filter((v) => v !== null);
      let low = Math.min(...known), high = Math.max(...known);
      if (!known.length) low = high = 0;
      const span = high - low || 1;
      const up = objectives[k].direction === "max";
      axis.at = (row) => row.v[k][0] === null ? null
        : high === low ? 0.5 : (up ? row.v[k][0] - low : high - row.v[k][0]) / span;
      axis.ticks = [0, 0.25, 0.5, 0.75, 1].map((t) => [t, fixed(up ? low + t * span : high - t * span, objectives[k].unit)]);
      if (high === low) axis.ticks = [[0.5, fixed(low, objectives[k].unit)]];
    }
  };
  const kept = () => {
    const find = $("find").value.trim().toLowerCase();
    return state.view.rows.filter((row) => {
      const config = configs[row.id];
      return $(`role-${config.role}`).checked && (!$("only-front").checked || row.front)
        && (!find || config.label.toLowerCase().includes(find))
        && Object.entries(state.ranges).every(([k, [low, high]]) => {
          const place = axes[k].at(row);
          return place !== null && place >= low - 1e-9 && place <= high + 1e-9;
        });
    });
  };
  const node = (name, attributes, ...children) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const parallel = (rows) => {
    const host = $("parallel"), height = 330, top = 44, foot = 18;
    const width = Math.max(host.clientWidth || 680, 150 * axes.length);
    const left = 40, right = 70, gap = axes.length > 1 ? (width - left - right) / (axes.length - 1) : 0;
    const x = (k) => left + k * gap, y = (t) => height - foot - t * (height - top - foot);
    const svg = node("svg", { viewBox: `0 0 ${width} ${height}`, width, height });
    const palette = PALETTES[theme()];
    const first = axes.find((a) => a.objective === 0);
    const ranked = [...rows].sort((a, b) => (first.at(a) ?? -1) - (first.at(b) ?? -1));
    const faint = rows.length > 400 ? 0.35 : 0.85;
    for (const row of ranked) {
      const points = axes.map((axis, k) => [k, axis.at(row)]).filter(([, t]) => t !== null);
      if (points.length < 2) continue;
      const share = first.at(row) ?? 0;
      const line = node("polyline", {
        class: `line${row.id === state.open ? " open" : ""}`, "data-id": row.id,
        points: points.map(([k, t]) => `${x(k).toFixed(1)},${y(t).toFixed(1)}`).join(" "),
        stroke: mix(palette["@faint"], palette["@1"], share), "stroke-opacity": faint,
      }, node("title", {}, `${configs[row.id].label}\n${objectives.map((o, k) => `${o.title}: ${meaned(row.v[k], o.unit)}`).join("\n")}`));
      svg.append(line);
    }
    axes.forEach((axis, k) => {
      svg.append(node("line", { class: "axis", x1: x(k), x2: x(k), y1: y(0), y2: y(1) }));
      const anchor = k === axes.length - 1 ? "end" : k === 0 ? "start" : "middle";
      const nudge = k === axes.length - 1 ? right - 4 : k === 0 ? 4 - left : 0;
      svg.append(node("text", { class: "name", x: x(k) + nudge, y: 16, "text-anchor": anchor }, clipped(axis.name, 21), node("title", {}, axis.full)));
      if (axis.objective !== undefined) {
        svg.append(node("text", { x: x(k) + nudge, y: 31, "text-anchor": anchor }, "better on top"));
      }
      for (const [t, label] of axis.ticks) {
        svg.append(node("text", { class: "halo", x: x(k) + 6, y: y(t) + 4 }, clipped(label, 16)));
      }
      if (state.ranges[k]) {
        const [low, high] = state.ranges[k];
        svg.append(node("rect", { class: "brush", x: x(k) - 7, width: 14, y: y(high) - 2, height: y(low) - y(high) + 4 }));
      }
      const grip = node("rect", { class: "grip", "data-axis": k, x: x(k) - 14, width: 28, y: y(1) - 8, height: y(0) - y(1) + 16 },
        node("title", {}, `${axis.full}: drag to keep a range, click to clear it`));
      svg.append(grip);
    });
    host.replaceChildren(svg);
    svg.addEventListener("click", (event) => { const id = event.target.dataset.id; if (id) open(id); });
    svg.addEventListener("pointerdown", (event) => {
      const k = event.target.dataset.axis;
      if (k === undefined) return;
      event.preventDefault();
      const box = svg.getBoundingClientRect();
      const at = (e) => Math.max(0, Math.min(1, (height - foot - (e.clientY - box.top) * height / box.height) / (height - top - foot)));
      const start = at(event);
      const band = svg.appendChild(node("rect", { class: "brush", x: x(k) - 7, width: 14, y: y(start), height: 0 }));
      const move = (e) => {
        const [low, high] = [start, at(e)].sort((a, b) => a - b);
        band.setAttribute("y", y(high));
        band.setAttribute("height", y(low) - y(high));
      };
      const end = (e) => {
        removeEventListener("pointermove", move);
        const [low, high] = [start, at(e)].sort((a, b) => a - b);
        if (high - low < 0.02) delete state.ranges[k]; else state.ranges[k] = [low, high];
        refresh();
      };
      addEventListener("pointermove", move);
      addEventListener("pointerup", end, { once: true });
    });
  };
  const clipped = (text, most) => { const t = String(text); return t.length > most ? `${t.slice(0, most - 1)}…` : t; };
  const mix = (a, b, t) => {
    const part = (hex, i) => parseInt(hex.slice(1 + 2 * i, 3 + 2 * i), 16);
    return `rgb(${[0, 1, 2].map((i) => Math.round(part(a, i) + t * (part(b, i) - part(a, i)))).join(",")})`;
  };
  const cell = (row, text, number) => {
    const td = row.insertCell();
    td.textContent = text;
    if (number) td.className = "number";
  };
  const list = (rows) => {
    const head = $("list").tHead, body = $("list").tBodies[0];
    const names = ["configuration", "role", "front", "n",
      ...objectives.map((o) => `validation: ${o.title}`), ...objectives.map((o) => `test: ${o.title}`)];
    head.replaceChildren();
    const tr = head.insertRow();
    names.forEach((name, k) => {
      const th = document.createElement("th");
      th.scope = "col";
      th.textContent = name;
      if (k > 2) th.className = "number";
      tr.append(th);
    });
    body.replaceChildren();
    for (const row of rows.slice(0, state.shown)) {
      const line = body.insertRow();
      line.dataset.open = row.id;
      line.tabIndex = 0;
      line.setAttribute("aria-selected", String(row.id === state.open));
      cell(line, configs[row.id].label);
      cell(line, configs[row.id].role);
      cell(line, row.front ? "yes" : "");
      cell(line, row.n, true);
      objectives.forEach((o, k) => cell(line, meaned(row.v[k], o.unit), true));
      objectives.forEach((o, k) => cell(line, meaned(row.t[k], o.unit), true));
    }
    $("more").hidden = rows.length <= state.shown;
    $("kept").textContent = `${rows.length.toLocaleString("en")} of ${state.view.rows.length.toLocaleString("en")} configurations`;
  };
  const refresh = () => {
    const rows = kept();
    parallel(rows);
    list(rows);
    const ids = new Set(rows.map((row) => row.id));
    const everything = rows.length === state.view.rows.length;
    for (const element of plots) {
      const home = element.closest("[data-readout]");
      if (!home || home.hidden || !element.data) continue;
      const chosen = element.data.map((trace) => everything || !trace.customdata ? null
        : trace.customdata.flatMap((id, i) => (ids.has(id) ? [i] : [])));
      Plotly.restyle(element, { selectedpoints: chosen });
    }
  };

  // ---- one configuration ------------------------------------------------------------------
  const matrixSpec = (matrix) => {
    const size = matrix[matrix.length - 1].length;
    const square = matrix.length === size;
    const z = matrix.map((row) => Array.from({ length: size }, (_, j) => (row[j] ?? null) === null ? null : row[j] / 10));
    return {
      data: [{ type: "heatmap", z, x: z[0].map((_, j) => `${j + 1}`), y: z.map((_, t) => (square ? `${t + 1}` : "all")),
        zmin: 0, zmax: 100, colorscale: "@sequential", showscale: false, xgap: 2, ygap: 2, hoverongaps: false,
        texttemplate: size <= 12 ? "%{z:.0f}" : "", hovertemplate: "after task %{y}, on task %{x}: %{z:.1f} %<extra></extra>" }],
      layout: { height: Math.min(90 + 44 * Math.max(z.length, 2), 460), margin: { l: 8, r: 8, t: 8, b: 8 },
        xaxis: { title: { text: "task, as learned" }, type: "category", side: "top", showgrid: false, ticks: "", automargin: true },
        yaxis: { title: { text: "after task" }, type: "category", autorange: "reversed", showgrid: false, ticks: "", automargin: true } },
    };
  };
  const curvesSpec = (matrices) => {
    const traces = [];
    matrices.forEach((matrix, split) => {
      if (!matrix || matrix.length < 2) return;
      for (let j = 0; j < matrix.length; j += 1) {
        traces.push({
          type: "scatter", mode: "lines+markers", name: `task ${j + 1}`, legendgroup: `${j}`, showlegend: split === 0 && matrix.length <= 12,
          x: matrix.slice(j).map((_, k) => j + k + 1), y: matrix.slice(j).map((row) => row[j] === null ? null : row[j] / 10),
          line: { color: `@${j % 6 + 1}`, width: split ? 1.4 : 2, dash: split ? "dot" : "solid" },
          marker: { color: `@${j % 6 + 1}`, size: split ? 5 : 7, symbol: ["circle", "square", "diamond", "triangle-up", "x", "star"][Math.floor(j / 6) % 6] },
          hovertemplate: `task ${j + 1}, ${split ? "test" : "validation"}: %{y:.1f} %<extra></extra>`,
        });
      }
    });
    const length = Math.max(...matrices.filter(Boolean).map((m) => m.length), 1);
    return { data: traces, layout: { height: 340, margin: { l: 8, r: 8, t: 8, b: 8 }, hovermode: "closest",
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
      xaxis: { title: { text: "tasks learned" }, automargin: true, dtick: length > 20 ? 5 : 1, zeroline: false },
      yaxis: { title: { text: "accuracy / %" }, automargin: true, range: [-3, 103], zeroline: false } } };
  };
  const freezeSpec = (map) => {
    const { sites, blocks } = explorer.maps;
    const names = blocks.flatMap((b) => sites.map((s) => `${b} ${s}`));
    const z = map.frozen_share.map((grid) => grid.flat().map((v) => (v === null ? null : v / 10)));
    return {
      data: [{ type: "heatmap", z, x: names, y: z.map((_, t) => `${t + 1}`), zmin: 0, zmax: 100, colorscale: "@sequential",
        showscale: false, xgap: 1, ygap: 2, hoverongaps: false,
        hovertemplate: "block and matrix %{x}, task %{y}: frozen in %{z:.0f} % of the runs<extra></extra>" }],
      layout: { height: 110 + 30 * z.length, margin: { l: 8, r: 8, t: 8, b: 8 },
        xaxis: { title: { text: "block and matrix" }, type: "category", showgrid: false, ticks: "", automargin: true, tickfont: { size: 11 } },
        yaxis: { title: { text: "task" }, type: "category", autorange: "reversed", showgrid: false, ticks: "", automargin: true } },
    };
  };
  // Every plot has a table of its values, including these four.
  const tabulate = (name, heads, rows) => {
    const table = $(`${name}-table`);
    table.tHead.replaceChildren();
    table.tBodies[0].replaceChildren();
    const tr = table.tHead.insertRow();
    heads.forEach((text, k) => {
      const th = document.createElement("th");
      th.scope = "col";
      th.textContent = text;
      if (k) th.className = "number";
      tr.append(th);
    });
    for (const row of rows) {
      const line = table.tBodies[0].insertRow();
      row.forEach((text, k) => cell(line, text ?? "–", k > 0));
      line.cells[0].className = "tight";
    }
  };
  const tenth = (v) => ((v ?? null) === null ? null : (v / 10).toFixed(1));
  const matrixTable = (name, matrix) => {
    const size = matrix[matrix.length - 1].length, square = matrix.length === size;
    const tasks = Array.from({ length: size }, (_, j) => j);
    tabulate(name, ["after task", ...tasks.map((j) => `task ${j + 1} / %`)],
      matrix.map((row, t) => [square ? t + 1 : "all", ...tasks.map((j) => tenth(row[j]))]));
  };
  const curvesTable = (matrices) => {
    const known = matrices.map((m) => (m && m.length > 1 ? m : null));
    const length = Math.max(...known.filter(Boolean).map((m) => m.length));
    const names = ["validation", "test"].flatMap((s) => ["learned", "best", "at the end", "lost"].map((w) => `${s}: ${w} / %`));
    tabulate("detail-curves", ["task", ...names], Array.from({ length }, (_, j) => [j + 1,
      ...known.flatMap((m) => {
        const column = m ? m.slice(j).map((row) => row[j]).filter((v) => v !== null) : [];
        if (!column.length) return [null, null, null, null];
        const best = Math.max(...column), last = column[column.length - 1];
        return [column[0], best, last, best - last].map(tenth);
      })]));
  };
  const freezeTable = (map) => {
    const { sites, blocks } = explorer.maps;
    const tasks = map.frozen_share.map((_, t) => t);
    tabulate("detail-freeze", ["block and matrix", ...tasks.map((t) => `task ${t + 1} / %`)],
      blocks.flatMap((b, i) => sites.map((s, k) => [`${b} ${s}`, ...tasks.map((t) => {
        const v = map.frozen_share[t][i][k];
        return v === null ? null : (v / 10).toFixed(0);
      })])));
  };
  const open = (id, scroll) => {
    const row = state.view.rows.find((r) => r.id === id);
    if (!row) { $("detail").hidden = true; return; }
    state.open = id;
    $("detail").hidden = false;
    const config = configs[id];
    $("detail-title").textContent = config.label;
    const factors = Object.entries(config.factors).map(([k, v]) => `${k} = ${v}`).join(", ");
    $("detail-text").textContent = `${config.role === "search" ? "Searched" : config.role}, readout ${state.view.readout}, n = ${row.n} run${row.n === 1 ? "" : "s"}. `
      + `${objectives.map((o, k) => `${o.title}: validation ${meaned(row.v[k], o.unit)}, test ${meaned(row.t[k], o.unit)}`).join("; ")}. ${factors}`;
    for (const place of document.querySelectorAll("[data-current-runs]")) place.textContent = `n = ${row.n} run${row.n === 1 ? "" : "s"}`;
    ["detail-validation", "detail-test"].forEach((name, k) => {
      const figure = $(name).closest("figure");
      figure.hidden = !row.m[k];
      if (!row.m[k]) return;
      draw($(name), matrixSpec(row.m[k]));
      matrixTable(name, row.m[k]);
    });
    const curves = curvesSpec(row.m);
    $("detail-curves").closest("figure").hidden = !curves.data.length;
    if (curves.data.length) {
      draw($("detail-curves"), curves);
      curvesTable(row.m);
    }
    const map = explorer.maps.of[id];
    $("detail-maps").hidden = !map || !map.frozen_share;
    if (map && map.frozen_share) {
      draw($("detail-freeze"), freezeSpec(map));
      freezeTable(map);
    }
    for (const line of document.querySelectorAll("[data-open]")) line.setAttribute("aria-selected", String(line.dataset.open === id));
    for (const line of document.querySelectorAll(".line")) line.classList.toggle("open", line.dataset.id === id);
    if (scroll) $("detail").scrollIntoView({ block: "start" });
  };
  document.addEventListener("click", (event) => {
    const row = event.target.closest("tr[data-open]");
    if (row && !event.target.closest(".term")) open(row.dataset.open, true);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.matches("tr[data-open]")) open(event.target.dataset.open, true);
  });
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  $("filters").addEventListener("input", () => { state.shown = PAGE; refresh(); });
  $("filters").addEventListener("reset", () => { state.ranges = {}; setTimeout(refresh); });
  $("more").addEventListener("click", () => { state.shown += 4 * PAGE; list(kept()); });

  // ---- readouts: one at a time, so that figures of different kinds never share a plot ---------
  const pick = (name) => {
    state.view = explorer.views.find((view) => view.readout === name);
    for (const button of document.querySelectorAll("[data-pick-readout]")) {
      button.setAttribute("aria-pressed", String(button.dataset.pickReadout === name));
    }
    for (const home of document.querySelectorAll("[data-readout]")) home.hidden = home.dataset.readout !== name;
    for (const place of document.querySelectorAll("[data-current-readout]")) place.textContent = `${name} (${state.view.kind})`;
    for (const place of document.querySelectorAll("[data-current-note]")) place.textContent = state.view.note ? `${state.view.note}.` : "";
    scaleObjectives();
  };
  for (const button of document.querySelectorAll("[data-pick-readout]")) {
    button.addEventListener("click", () => { pick(button.dataset.pickReadout); redraw(); });
  }

  // ---- all of it --------------------------------------------------------------------------
  redraw = () => {
    showTheme();
    plots.forEach(drawFigure);
    refresh();
    open(state.open);
  };
  pick(state.view.readout);
  redraw();

  // Print in light colors, at the width of the paper, with every table open.
  let closed = [];
  const beforePrint = () => {
    if (printing) return;
    printing = true;
    closed = [...document.querySelectorAll("details:not([open])")];
    closed.forEach((d) => { d.open = true; });
    redraw();
    for (const element of document.querySelectorAll(".js-plotly-plot")) {
      if (element.offsetParent) Plotly.relayout(element, { width: element.closest(".pair") ? 460 : element.closest(".span2") ? 200 : 640, autosize: false });
    }
  };
  const afterPrint = () => {
    if (!printing) return;
    printing = false;
    closed.forEach((d) => { d.open = false; });
    redraw();
    for (const element of document.querySelectorAll(".js-plotly-plot")) {
      if (element.offsetParent) Plotly.relayout(element, { width: null, autosize: true });
    }
  };
  addEventListener("beforeprint", beforePrint);
  addEventListener("afterprint", afterPrint);
  matchMedia("print").addEventListener("change", (e) => (e.matches ? beforePrint() : afterPrint()));
  system.addEventListener("change", () => { if (!picked) redraw(); });
  // Heights are fixed; plots are redrawn only if the width changes.
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width && !printing) { width = innerWidth; redraw(); } });
  root.dataset.ready = "true";
})().catch((error) => { console.error(error); document.documentElement.dataset.ready = "failed"; });
