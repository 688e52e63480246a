// Draws what the tests have asked a Prometheus for each dashboard, as pages of SVG: node picture.mjs FOLDER, with the files that
// make dashboards-picture leaves there; and each once more without data. It is no Grafana. It shows whether the data makes sense: how many series, in
// which unit, how they stack.
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const cell = { w: 62, h: 34 };
const named = { green: '#73bf69', red: '#f2495c', orange: '#ff9830', yellow: '#f2cc0c', blue: '#5794f2', purple: '#b877d9', text: '#ccccdc', transparent: 'none', 'semi-dark-purple': '#a352cc' };
// byName is the same for the same name on all pages, as Grafana's palette by series name is; its colours are others.
const names = [];
const byName = (name) => `hsl(${(137.5 * (names.includes(name) ? names.indexOf(name) : names.push(name) - 1)) % 360} 65% 60%)`;
const colour = (c) => named[c] ?? c;
const escape = (s) => String(s).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

function scaled(v, steps, decimals) {
  const [by, unit] = steps.filter(([by]) => Math.abs(v) >= by).pop() ?? steps[0];
  return `${(v / by).toFixed(decimals ?? (v / by >= 10 || v === 0 ? 0 : 2))}${unit}`;
}
function format(v, unit, decimals) {
  if (Number.isNaN(v)) return 'NaN';
  const seconds = [[1e-3, ' ms'], [1, ' s'], [60, ' min'], [3600, ' hours'], [86400, ' days']];
  const bytes = [[1, ' B'], [1024, ' KiB'], [1024 ** 2, ' MiB'], [1024 ** 3, ' GiB']];
  switch (unit) {
    case 's': return v === 0 ? '0 s' : scaled(v, seconds, decimals);
    case 'bytes': return scaled(v, bytes, decimals ?? 1);
    case 'Bps': return scaled(v, [[1, ' B/s'], [1000, ' kB/s'], [1e6, ' MB/s']], decimals ?? 1);
    case 'percentunit': return `${(100 * v).toFixed(decimals ?? 1)}%`;
    case 'reqps': return `${v.toFixed(3)} req/s`;
    case 'dateTimeFromNow': return new Date(v).toISOString().slice(5, 16);
    default: return v.toFixed(decimals ?? (Number.isInteger(v) ? 0 : 2));
  }
}

const legend = (q, metric) => (q.legendFormat === '__auto' ? '' : q.legendFormat.replace(/{{\s*(\w+)\s*}}/g, (_, l) => metric[l] ?? ''));
const mapped = (v, mappings = []) => {
  for (const m of mappings) {
    if (m.type === 'value' && m.options[v]) return m.options[v];
  }
  return null;
};
const threshold = (v, t) => colour((t?.steps ?? []).filter((s) => s.value === null || v >= s.value).pop()?.color ?? 'text');

function box(x, y, w, h, inner, title) {
  return `<g transform="translate(${x},${y})"><rect width="${w - 6}" height="${h - 6}" fill="#181b1f" stroke="#2c3235"/><text x="8" y="16" class="t">${escape(title)}</text>${inner(w - 6, h - 6)}</g>`;
}
const nothing = (p) => (w, h) => `<text x="${w / 2}" y="${h / 2 + 8}" text-anchor="middle" class="n">${escape(p.fieldConfig.defaults.noValue)}</text>`;

function one(p) {
  const [q] = p.targets;
  const f = p.fieldConfig.defaults;
  const shown = q.answer.map((s) => {
    const v = Number(s.value[1]);
    const m = mapped(v, f.mappings);
    return [legend(q, s.metric) || m?.text || format(v, f.unit, f.decimals), m ? colour(m.color) : threshold(v, f.thresholds)];
  });
  if (!shown.length) {
    const { text, color } = f.mappings.find((m) => m.options.match === 'null').options.result;
    shown.push([text, colour(color)]);
  }
  return (w, h) => shown.map(([text, back], i) => {
    const each = (h - 28) / shown.length;
    const y = 24 + i * each;
    return `<rect x="4" y="${y}" width="${w - 8}" height="${each - 2}" fill="${p.options.colorMode === 'background' ? back : 'none'}"/><text x="${w / 2}" y="${y + each / 2}" text-anchor="middle" dominant-baseline="central" class="v">${escape(text)}</text>`;
  }).join('');
}

function bars(p) {
  const [q] = p.targets;
  if (!q.answer.length) return nothing(p);
  const f = p.fieldConfig.defaults;
  const all = q.answer.map((s) => [legend(q, s.metric), Number(s.value[1])]);
  const max = Math.max(...all.map(([, v]) => v));
  return (w, h) => all.map(([name, v], i) => {
    const y = 30 + i * Math.min(26, (h - 34) / all.length);
    return `<text x="190" y="${y + 12}" text-anchor="end" class="l">${escape(name)}</text><rect x="196" y="${y}" width="${(w - 290) * v / max}" height="16" fill="${colour(f.color.fixedColor)}"/><text x="${w - 8}" y="${y + 12}" text-anchor="end" class="l">${escape(format(v, f.unit, f.decimals))}</text>`;
  }).join('');
}

function table(p) {
  const organize = p.transformations.find((t) => t.id === 'organize').options;
  const merged = new Map();
  for (const q of p.targets) {
    for (const s of q.answer) {
      const key = JSON.stringify(Object.entries(s.metric).sort());
      merged.set(key, { ...merged.get(key), ...s.metric, [p.targets.length > 1 ? `Value #${q.refId}` : 'Value']: Number(s.value[1]) });
    }
  }
  if (!merged.size) return nothing(p);
  const columns = Object.entries(organize.indexByName).sort((a, b) => a[1] - b[1]).map(([k]) => k);
  const first = columns.find((c) => c === 'Value #A' || c === 'Value');
  const all = [...merged.values()].sort((a, b) => (b[first] ?? -1) - (a[first] ?? -1));
  const property = (k, id) => p.fieldConfig.overrides.find((o) => o.matcher.options === organize.renameByName[k])?.properties.find((x) => x.id === id)?.value;
  const cells = all.slice(0, 12).map((r) => columns.map((c) => {
    const v = r[c];
    if (typeof v !== 'number') return v ?? property(c, 'noValue');
    return mapped(v, property(c, 'mappings'))?.text ?? format(v, property(c, 'unit') ?? p.fieldConfig.defaults.unit, property(c, 'decimals'));
  }));
  const head = columns.map((c) => organize.renameByName[c]);
  const wanted = head.map((name, i) => 16 + 6.8 * Math.max(name.length, ...cells.map((r) => r[i].length)));
  return (w) => {
    let most = w; // wide columns share what the others leave
    while (wanted.reduce((sum, x) => sum + Math.min(x, most), 0) > w) most -= 5;
    const widths = wanted.map((x) => Math.min(x, most));
    const cut = (v, width) => (16 + 6.8 * v.length > width + 1 ? `${v.slice(0, (width - 20) / 6.8)}…` : v);
    const line = (y, values, css) => values.map((v, i) => `<text x="${10 + widths.slice(0, i).reduce((a, b) => a + b, 0)}" y="${y}" class="${css}">${escape(cut(v, widths[i]))}</text>`).join('');
    return line(38, head, 't') + cells.map((r, i) => line(58 + i * 20, r, 'l')).join('')
      + (all.length > 12 ? `<text x="10" y="${58 + 12 * 20}" class="n">${all.length - 12} more</text>` : '');
  };
}

function graph(p, from, to) {
  const f = p.fieldConfig.defaults;
  const c = f.custom ?? {};
  const all = p.targets.flatMap((q) => q.answer.map((s) => ({ name: legend(q, s.metric), values: s.values.map(([t, v]) => [t, Number(v)]) })));
  if (!all.length) return nothing(p);
  const bar = c.drawStyle === 'bars';
  const stacked = c.stacking?.mode === 'normal';
  const sum = (s) => s.values.reduce((n, [, v]) => n + v, 0);
  all.sort((a, b) => (a.name < b.name ? -1 : 1));
  const tops = new Map();
  let max = f.max ?? 0;
  for (const s of all) {
    s.points = s.values.map(([t, v]) => {
      const below = stacked ? tops.get(t) ?? 0 : 0;
      tops.set(t, below + v);
      max = Math.max(max, below + v);
      return [t, below, below + v];
    });
  }
  max ||= 1;
  return (w, h) => {
    const below = p.options.legend.placement === 'bottom';
    const shown = Math.min(all.length, Math.floor((h - 40) / 15 / (below ? 2 : 1)));
    const place = below ? { x: 62, y: h - 15 * shown } : { x: w - Math.min(330, w * 0.4), y: 26 };
    const plot = { x: 62, y: 26, w: (below ? w : place.x) - 80, h: (below ? place.y : h) - 50 };
    const X = (t) => plot.x + plot.w * (t - from) / (to - from);
    const Y = (v) => plot.y + plot.h * (1 - v / max);
    let out = '';
    for (let i = 0; i <= 4; i += below ? 2 : 1) {
      out += `<line x1="${plot.x}" x2="${plot.x + plot.w}" y1="${Y(max * i / 4)}" y2="${Y(max * i / 4)}" stroke="#2c3235"/><text x="${plot.x - 4}" y="${Y(max * i / 4) + 4}" text-anchor="end" class="l">${escape(format(max * i / 4, f.unit, f.decimals || undefined))}</text>`;
      const t = from + (to - from) * i / 4.4;
      out += `<text x="${X(t)}" y="${plot.y + plot.h + 18}" text-anchor="middle" class="l">${new Date(t * 1000).toISOString().slice(5, 16).replace('T', ' ')}</text>`;
    }
    for (const s of (f.thresholds?.steps ?? []).slice(1)) {
      if (c.thresholdsStyle && s.value <= max) out += `<line x1="${plot.x}" x2="${plot.x + plot.w}" y1="${Y(s.value)}" y2="${Y(s.value)}" stroke="${colour(s.color)}" stroke-dasharray="6 4"/>`;
    }
    all.forEach((s, i) => {
      const fixed = p.fieldConfig.overrides?.find((o) => o.matcher.options === s.name)?.properties.find((x) => x.id === 'color')?.value.fixedColor;
      const paint = fixed ? colour(fixed) : byName(s.name);
      if (bar) {
        const end = (t) => Math.min(to, t + 0.9 * p.step);
        out += s.points.map(([t, lo, hi]) => `<rect x="${X(Math.max(from, t))}" y="${Y(hi)}" width="${X(end(t)) - X(Math.max(from, t))}" height="${Math.max(0, Y(lo) - Y(hi))}" fill="${paint}"/>`).join('');
      } else {
        let d = '';
        s.points.forEach(([t, , hi], k) => { d += !k || t - s.points[k - 1][0] > p.step * 1.5 ? `M${X(t)} ${Y(hi)}` : `H${X(t)}V${Y(hi)}`; });
        out += `<path d="${d}" fill="none" stroke="${paint}" stroke-width="1.5"/>`;
        if (c.showPoints === 'always') out += s.points.map(([t, , hi]) => `<circle cx="${X(t)}" cy="${Y(hi)}" r="3" fill="${paint}"/>`).join('');
      }
      const figures = { lastNotNull: ['last', () => s.values.at(-1)[1]], max: ['max', () => Math.max(...s.values.map(([, v]) => v))], sum: ['total', () => sum(s)] };
      const figure = p.options.legend.calcs.map((c) => `${figures[c][0]} ${format(figures[c][1](), f.unit, f.decimals)}`).join(', ');
      if (i < shown) out += `<rect x="${place.x}" y="${place.y + i * 15}" width="10" height="4" fill="${paint}"/><text x="${place.x + 14}" y="${place.y + 6 + i * 15}" class="l">${escape(s.name)}: ${escape(figure)}</text>`;
    });
    return out;
  };
}

function states(p, from, to) {
  const [q] = p.targets;
  if (!q.answer.length) return nothing(p);
  const f = p.fieldConfig.defaults;
  return (w, h) => q.answer.map((s, i) => {
    const X = (t) => 330 + (w - 340) * (t - from) / (to - from);
    const y = 28 + i * Math.min(30, (h - 34) / q.answer.length);
    return `<text x="324" y="${y + 14}" text-anchor="end" class="l">${escape(legend(q, s.metric))}</text>${s.values.map(([t, v]) => `<rect x="${X(Math.max(t, from))}" y="${y}" width="${X(Math.min(t + p.step, to)) - X(Math.max(t, from)) + 0.5}" height="18" fill="${colour(mapped(Number(v), f.mappings)?.color ?? threshold(Number(v), f.thresholds))}"/>`).join('')}`;
  }).join('');
}

const kinds = { stat: one, bargauge: bars, table, timeseries: graph, 'state-timeline': states };
const [folder] = process.argv.slice(2);
const pages = readdirSync(folder).filter((f) => f.endsWith('.json')).flatMap((f) => [[f, '.html'], [f, '-empty.html']]);
for (const [file, end] of pages) {
  const d = JSON.parse(readFileSync(join(folder, file), 'utf8'));
  if (end === '-empty.html') d.panels.forEach((p) => p.targets?.forEach((q) => { q.answer = []; }));
  const height = 40 + cell.h * Math.max(...d.panels.map((p) => p.gridPos.y + p.gridPos.h));
  const body = d.panels.map((p) => {
    const g = p.gridPos;
    const at = [g.x * cell.w, 40 + g.y * cell.h];
    if (p.type === 'row') return `<text x="${at[0] + 4}" y="${at[1] + 24}" class="v">${escape(p.title)}</text>`;
    return box(...at, g.w * cell.w, g.h * cell.h, kinds[p.type](p, d.From, d.To), p.title);
  }).join('\n');
  writeFileSync(join(folder, file.replace('.json', end)), `<!doctype html><meta charset="utf-8"><body style="margin:0;background:#111217">
<svg xmlns="http://www.w3.org/2000/svg" width="${24 * cell.w}" height="${height}" font-family="sans-serif">
<style>text{fill:#ccccdc}.t{font-size:13px;font-weight:bold}.l{font-size:11px}.n{font-size:14px;fill:#888}.v{font-size:20px}</style>
<text x="8" y="28" class="v">${escape(d.title)}</text>
${body}
</svg>
`);
  console.log(`${file.replace('.json', end)} ${24 * cell.w} ${height}`);
}
