// SPDX-License-Identifier: Apache-2.0
// Draws with createElement and textContent alone, so that no text of a token, domain or path can
// become markup.
#include "observatory/page_script.h"

namespace mixtral::observatory {

const std::string_view kPageStyle = R"css(
body { max-width: 1240px; }
nav { position: sticky; top: 0; z-index: 2; background: var(--page); border-bottom: 1px solid var(--line);
  display: flex; flex-wrap: wrap; gap: 8px 18px; align-items: center; padding: 9px 0; font-size: 14px; }
select, button { font: inherit; color: inherit; background: var(--card); border: 1px solid var(--line);
  border-radius: 6px; padding: 2px 8px; }
button.on { border-color: #4477aa; box-shadow: inset 0 0 0 1px #4477aa; }
.three { display: grid; grid-template-columns: repeat(auto-fit, minmax(330px, 1fr)); gap: 10px 26px; }
.three > div { min-width: 0; } section { overflow-x: auto; }
.legend { margin-left: 0; } .legend i { height: 10px; width: 10px; border-radius: 2px; }
.dash { stroke: var(--ink); stroke-dasharray: 5 4; stroke-width: 1.2; opacity: .75; }
.text { font: 13px/1.75 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere;
  background: var(--card); border-radius: 8px; padding: 10px 12px; max-height: 560px; overflow-y: auto; }
.text span { border-radius: 3px; padding: 1px 0; cursor: default; }
.text span.dim { opacity: .18; } .text .nl { opacity: .45; }
.key { display: flex; flex-wrap: wrap; gap: 5px; margin: 8px 0; font-size: 13px; }
.key span { border-radius: 5px; padding: 1px 9px; cursor: pointer; }
.key span.dim { opacity: .3; }
.chips { display: flex; flex-wrap: wrap; gap: 4px; padding: 5px 0; }
.chips code { background: var(--card); border-radius: 4px; padding: 1px 6px; white-space: pre; font-size: 12.5px; }
.chips small { color: var(--soft); } table.tokens td { text-align: left; vertical-align: top; }
td.expert { border-radius: 5px; padding: 3px 9px; white-space: nowrap; }
.tables { display: flex; flex-wrap: wrap; gap: 10px 34px; } table { font-size: 13.5px; }
#table5 td, #table5 th { padding-right: 9px; font-size: 12.5px; }
td small { color: var(--soft); } th { font-weight: 600; } .below { color: #c8500a; }
svg text.cell { font-size: 11px; fill: var(--ink); }
@media print { nav { position: static; } }
)css";

const std::string_view kPageBody = R"html(<div class='figures' id='facts'></div>
<nav aria-label='Layers'><span>Layers shown:</span><span id='layers'></span>
<span>Choice:</span><span id='choices'></span></nav>
<noscript><p>This page draws its figures with a script that it carries; nothing is loaded from anywhere.</p></noscript>
<section><h2>Load: which experts a domain uses <span class='note'>(paper: Figures 7 and 9)</span></h2>
<p class='note'>Part of the assignments that each expert got; a domain's bars add up to 1. Dashed: 1 / number of experts.
The paper finds no topic experts: most bars of Mixtral 8x7B lie between 0.10 and 0.15, and only DM Mathematics
stands out, at the first and last layer.</p>
<div class='legend' id='domains'></div><div class='three' id='load'></div></section>
<section><h2>Repetition: does the next token go to the same expert? <span class='note'>(Table 5)</span></h2>
<p class='note'>Percent of consecutive tokens with the same first choice, and with at least one chosen expert in common.
Small: half the 95 % interval, from the spread between sequences. Orange: the interval lies below random routing.</p>
<div class='tables' id='table5'></div></section>
<section><h2>Repetition by layer <span class='note'>(Figure 10)</span></h2>
<p class='note'>Dashed: uniform random routing. Hollow circles: means over the paper's eight domains for Mixtral 8x7B, its layers 0, 15
and 31 placed at the same depth.</p><div class='charts' id='figure10'></div></section>
<section><h2>Text coloured by expert <span class='note'>(Figure 8)</span></h2>
<p class='note'>Each token in the colour of its first choice. Point at a token for all its experts and their weights; click an
expert below to see its tokens alone.</p>
<p><label>Text: <select id='text'></select></label></p><div class='key' id='key'></div><div class='three' id='figure8'></div></section>
<section><h2>Which tokens an expert gets</h2><p class='note'>Tokens that go to an expert as first choice more surely than others, by the
lower end of the interval of the part that goes there: text, part, occurrences.</p><div id='tokens'></div></section>
<section><h2>Experts and layers</h2><p class='note'>Load of every expert in every layer beside an even load; entropy of the shares, and the
mean weight of the first choice. Deviation: of the loads, an even one being 1.</p><div id='balance'></div></section>
<section><h2>Experts that are chosen together</h2><p class='note'>Percent of all tokens that get both experts; even pairs
would have <span id='evenpair'></span> %.</p><div class='three' id='together'></div></section>
<section><h2>How alike domains are routed</h2><p class='note'>Jensen-Shannon divergence of their loads in thousandths of a bit: 0 equal,
1000 nothing in common.</p><div class='three' id='similarity'></div></section>
<section><h2>Does routing drift with the position?</h2><p class='note'>Divergence of the load at these positions from the load at all
positions, in bits. Few tokens differ by chance alone: their number is below.</p><div id='drift'></div></section>
<section id='against' hidden><h2>Beside a second model</h2><div id='againstbody'></div></section>
<p class='note'>Same first choice 12.5 % and an expert in common 46.43 % are what uniform random routing gives for 8 experts and 2 per
token (1/8 and 1 - C(6,2)/C(8,2)). Paper: Jiang et al., Mixtral of Experts, arXiv 2401.04088, section 5.</p>
)html";

const std::string_view kPageScript = R"js('use strict';
const D = JSON.parse(document.getElementById('report').textContent);
const TEXTS = JSON.parse(document.getElementById('texts').textContent);
const PAPER = JSON.parse(document.getElementById('paper').textContent);
const L = D.model.n_layers, E = D.model.n_experts, K = D.model.experts_per_token;
const $ = id => document.getElementById(id);
const SVG = 'http://www.w3.org/2000/svg';
function node(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes || {}))
    if (key in element && key !== 'style' && key !== 'title') element[key] = value; else element.setAttribute(key, value);
  element.append(...children.filter(child => child !== null));
  return element;
}
function shape(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes || {})) element.setAttribute(key, value);
  element.append(...children);
  return element;
}
const tip = text => shape('title', {}, text);
const label = (x, y, text, anchor, kind) => shape('text', {x, y, 'text-anchor': anchor || 'start', class: kind || 'tick'}, text);
const percent = (value, digits) => (100 * value).toFixed(digits === undefined ? 1 : digits);
const BRIGHT = ['#4477aa', '#ee6677', '#228833', '#ccbb44', '#66ccee', '#aa3377', '#888888'];
const domainColour = i => i < BRIGHT.length ? BRIGHT[i] : `hsl(${(i * 47) % 360} 55% 50%)`;
const sheet = node('style');
const hue = e => (e * 360 / E + (E > 8 && e % 2 ? 8 : 0)) % 360;
const each = make => Array.from({length: E}, (_, e) => make(e)).join('');
sheet.textContent = ':root{' + each(e => `--e${e}:hsl(${hue(e)} 70% ${e % 2 ? 76 : 84}%);`) + '}' +
  '@media (prefers-color-scheme: dark){:root{' + each(e => `--e${e}:hsl(${hue(e)} 52% ${e % 2 ? 28 : 36}%);`) + '}}';
document.head.append(sheet);
const state = {layers: [...new Set([0, Math.floor((L - 1) / 2), L - 1])], choice: -1, text: 0, expert: -1};
const CHOICES = [['either', -1], ['first', 0], ...(K > 1 ? [['second', 1]] : [])];
if (K > 2) CHOICES[0][0] = 'any';
const NAMES = D.domains.map(domain => domain.name);

function drawFacts() {
  const facts = [[D.tokens.toLocaleString('en'), 'tokens'], [NAMES.length, 'domains'], [`${L} x ${E}`, 'layers x experts'],
    [K, 'experts per token'], [(D.model.expert_bytes / 1e6).toFixed(2) + ' MB', 'one expert'],
    [D.all.layers.reduce((most, layer) => Math.max(most, layer.max_load), 0).toFixed(2) + 'x', 'largest load']];
  $('facts').append(...facts.map(([value, name]) => node('div', {}, node('b', {}, String(value)), node('span', {}, name))));
}
function drawControls() {
  $('layers').replaceChildren(...state.layers.map((layer, i) => node('select', {
    ariaLabel: 'layer ' + (i + 1), style: 'margin-right:6px', onchange: event => { state.layers[i] = +event.target.value; draw(); }},
    ...Array.from({length: L}, (_, l) => node('option', {value: l, selected: l === layer}, 'layer ' + l)))));
  $('choices').replaceChildren(...CHOICES.map(([name, value]) => node('button', {className: value === state.choice ? 'on' : '',
    style: 'margin-right:6px', onclick: () => { state.choice = value; draw(); }}, name)));
}
function legend() {
  return NAMES.map((name, i) => node('span', {}, node('i', {style: 'background:' + domainColour(i)}), name));
}
const sharesOf = layer => state.choice < 0 ? layer.shares : layer.choices[state.choice];

function bars(l) {
  const W = 400, H = 190, left = 34, bottom = 22, values = D.domains.map(domain => sharesOf(domain.layers[l]));
  const top = Math.max(1.6 / E, ...values.flat()) * 1.08, y = v => H - bottom - v / top * (H - bottom - 8);
  const svg = shape('svg', {viewBox: `0 0 ${W} ${H}`, role: 'img'});
  const step = [0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5].find(s => top / s <= 5) || 1;
  for (let tick = 0; tick <= top; tick += step) svg.append(shape('line', {class: 'grid', x1: left, x2: W, y1: y(tick), y2: y(tick)}),
    label(left - 5, y(tick) + 4, String(+tick.toFixed(2)), 'end'));
  const group = (W - left) / E, width = Math.max(group * 0.84 / values.length, 0.4);
  for (let e = 0; e < E; ++e) {
    if (E <= 32 || e % 8 === 0) svg.append(label(left + (e + 0.5) * group, H - 6, String(e), 'middle'));
    values.forEach((shares, d) => svg.append(shape('rect', {x: left + e * group + group * 0.08 + d * width, y: y(shares[e]),
      width: Math.max(width - 0.4, 0.3), height: Math.max(0, y(0) - y(shares[e])), fill: domainColour(d)},
      tip(`${NAMES[d]}, layer ${l}, expert ${e}: ${shares[e].toFixed(4)}`))));
  }
  svg.append(shape('line', {class: 'dash', x1: left, x2: W, y1: y(1 / E), y2: y(1 / E)}));
  return node('div', {}, node('h3', {}, `layer ${l}, ${CHOICES.find(c => c[1] === state.choice)[0]} choice`), svg);
}

function table5(rows, layers, title, names) {
  const head = node('tr', {}, node('th', {}, title), ...names.flatMap(name => layers.map(l => node('th', {}, `${name} L${l}`))));
  return node('table', {}, head, ...rows.map(([name, cells]) => node('tr', {}, node('td', {}, name), ...cells)));
}
const rateCell = ([value, low, high], base) => node('td', {className: high < base ? 'below' : '',
  title: `${percent(low, 2)} to ${percent(high, 2)} %`}, percent(value) + ' ', node('small', {}, '\u00b1' + percent((high - low) / 2)));
function drawTable5() {
  const kinds = [['first', D.baselines.first], ['any', D.baselines.any]];
  const rows = [...D.domains, D.all].map(domain => [domain.name,
    kinds.flatMap(([kind, base]) => state.layers.map(l => rateCell(domain.layers[l][kind], base)))]);
  rows.push(['uniform random', kinds.flatMap(([, base]) => state.layers.map(() => node('td', {}, percent(base))))]);
  const plain = (value, base) => node('td', {className: value < base ? 'below' : ''}, value.toFixed(1));
  const paper = PAPER.table5_percent.map(row => [row.domain, [...row.first.map(v => plain(v, 12.5)), ...row.any.map(v => plain(v, 46.43))]]);
  paper.push(['uniform random', [...PAPER.layers.map(() => plain(12.5, 0)), ...PAPER.layers.map(() => plain(46.4, 0))]]);
  $('table5').replaceChildren(table5(rows, state.layers, 'this model', ['first', 'in common']),
    table5(paper, PAPER.layers, 'paper, ' + PAPER.model, ['first', '1st or 2nd']));
}

function lines(title, series, xs, base, circles, xname, unit, axis, names) {
  const W = 560, H = 240, left = 42, bottom = 34, all = series.flatMap(s => s.values).concat(base === null ? [] : [base], circles.map(c => c[1]));
  const low = Math.min(...all, ...series.flatMap(s => s.low || [])), high = Math.max(...all, ...series.flatMap(s => s.high || []), 1e-6);
  const from = low > high * 0.4 ? low * 0.95 : 0, y = v => H - bottom - (v - from) / (high * 1.04 - from) * (H - bottom - 10);
  const x = i => left + 8 + (xs.length < 2 ? 0.5 : i / (xs.length - 1)) * (W - left - 24);
  const svg = shape('svg', {viewBox: `0 0 ${W} ${H}`, role: 'img'});
  const power = 10 ** Math.floor(Math.log10((high - from) / 5)), step = [1, 2, 5, 10].find(n => n * power * 5 >= high - from) * power;
  for (let v = Math.ceil(from / step) * step; v <= high * 1.04; v += step)
    svg.append(shape('line', {class: 'grid', x1: left, x2: W, y1: y(v), y2: y(v)}), label(left - 5, y(v) + 4, axis(v), 'end'));
  const every = Math.ceil(xs.length / 12);
  xs.forEach((name, i) => { if (i % every === 0) svg.append(label(x(i), H - 18, String(name), 'middle')); });
  svg.append(label(W - 4, H - 3, xname, 'end'));
  if (base !== null) svg.append(shape('line', {class: 'dash', x1: left, x2: W, y1: y(base), y2: y(base)}, tip('uniform random: ' + unit(base))));
  series.forEach((one, s) => {
    const points = one.values.map((v, i) => `${x(i).toFixed(1)},${y(v).toFixed(1)}`);
    svg.append(shape('polyline', {class: 'line', stroke: one.colour, points: points.join(' ')}));
    one.values.forEach((v, i) => {
      if (one.low) svg.append(shape('line', {stroke: one.colour, opacity: 0.45, x1: x(i), x2: x(i), y1: y(one.low[i]), y2: y(one.high[i])}));
      svg.append(shape('circle', {cx: x(i), cy: y(v), r: 3, fill: one.colour}, tip(`${one.name}, ${names} ${xs[i]}: ${unit(v)}`)));
    });
  });
  for (const [at, v, text] of circles) svg.append(shape('circle', {cx: left + 8 + at * (W - left - 24), cy: y(v), r: 5, fill: 'none',
    stroke: 'var(--ink)', 'stroke-width': 1.4}, tip(text)));
  return node('div', {}, node('h3', {}, title), svg);
}
function drawFigure10() {
  const mean = (kind, i) => PAPER.table5_percent.reduce((sum, row) => sum + row[kind][i], 0) / PAPER.table5_percent.length / 100;
  const chart = (kind, title, base) => lines(title, D.domains.map((domain, i) => ({name: domain.name, colour: domainColour(i),
    values: domain.layers.map(l => l[kind][0]), low: domain.layers.map(l => l[kind][1]), high: domain.layers.map(l => l[kind][2])})),
    Array.from({length: L}, (_, l) => l), base, E === 8 && K === 2 ? PAPER.layers.map((layer, i) => [i / 2, mean(kind, i),
      `paper, mean of 8 domains, layer ${layer}: ${percent(mean(kind, i))} %`]) : [], 'layer', v => percent(v, 2) + ' %', v => percent(v, 0) + '%', 'layer');
  $('figure10').replaceChildren(chart('first', 'same first choice', D.baselines.first),
    chart('any', 'an expert in common', D.baselines.any), node('div', {className: 'legend'}, ...legend()));
}

function drawFigure8() {
  $('key').replaceChildren(...Array.from({length: E}, (_, e) => node('span', {style: `background:var(--e${e})`,
    className: state.expert >= 0 && state.expert !== e ? 'dim' : '',
    onclick: () => { state.expert = state.expert === e ? -1 : e; drawFigure8(); }}, 'expert ' + e)));
  const text = TEXTS[state.text];
  if (!text) return;
  const shown = token => token.replace(/\n/g, '\u21b5\n').replace(/\t/g, '  ');
  $('figure8').replaceChildren(...state.layers.map(l => node('div', {}, node('h3', {}, 'layer ' + l), node('div', {className: 'text'},
    ...text.tokens.map((token, t) => node('span', {style: `background:var(--e${text.experts[l][t][0]})`,
      className: state.expert >= 0 && state.expert !== text.experts[l][t][0] ? 'dim' : '',
      title: `token ${t}, layer ${l}: ` + text.experts[l][t].map((e, i) => `expert ${e} (${text.weights[l][t][i]} %)`).join(', ')},
      shown(token)))))));
}

function grid(l, title, rows, columns, value, text, note) {
  const left = Math.max(...rows.map(r => String(r).length)) * 6.4 + 8, cell = Math.max(14, Math.min(46, 340 / columns.length));
  const long = columns.some(c => String(c).length > 3), top = long ? Math.max(...columns.map(c => String(c).length)) * 5 + 10 : 18;
  const W = left + cell * columns.length + (long ? 40 : 0), H = top + rows.length * 20;
  const svg = shape('svg', {viewBox: `0 0 ${W} ${H}`, role: 'img', style: `max-width:${W}px`});
  columns.forEach((name, c) => { const x = left + (c + 0.5) * cell;
    svg.append(long ? shape('text', {class: 'tick', transform: `translate(${x - 3} ${top - 5}) rotate(-38)`}, String(name)) : label(x, top - 5, String(name), 'middle')); });
  rows.forEach((name, r) => { svg.append(label(left - 6, top + r * 20 + 14, String(name), 'end'));
    columns.forEach((_, c) => { const at = Math.max(-1, Math.min(1, value(r, c)));
      const mix = `color-mix(in srgb, ${at < 0 ? '#2166ac' : '#c8500a'} ${(Math.abs(at) * 80).toFixed(0)}%, var(--card))`;
      svg.append(shape('rect', {x: left + c * cell, y: top + r * 20, width: cell - 1, height: 19, style: 'fill:' + mix}, tip(note(r, c))));
      if (cell >= 24) svg.append(label(left + (c + 0.5) * cell - 0.5, top + r * 20 + 14, text(r, c), 'middle', 'cell')); }); });
  return node('div', {}, node('h3', {}, title), svg);
}
const experts = Array.from({length: E}, (_, e) => e);
function drawGrids() {
  const pair = K * (K - 1) / (E * (E - 1));
  $('evenpair').textContent = percent(pair, 2);
  $('together').replaceChildren(...state.layers.map(l => { const rows = D.together[l];
    return grid(l, 'layer ' + l, experts, experts, (r, c) => r === c || !pair ? 0 : rows[r][c] / pair - 1,
      (r, c) => r === c ? '' : percent(rows[r][c]), (r, c) => `layer ${l}, experts ${r} and ${c}: ${percent(rows[r][c], 2)} % of the tokens`); }));
  const most = Math.max(1e-9, ...D.similarity_bits.flat(2));
  $('similarity').replaceChildren(...state.layers.map(l => { const rows = D.similarity_bits[l];
    return grid(l, 'layer ' + l, NAMES, NAMES, (r, c) => rows[r][c] / most, (r, c) => r === c ? '' : (1000 * rows[r][c]).toFixed(0),
      (r, c) => `layer ${l}, ${NAMES[r]} and ${NAMES[c]}: ${rows[r][c].toFixed(4)} bits`); }));
  const layers = Array.from({length: L}, (_, l) => l);
  $('balance').replaceChildren(node('div', {className: 'tables'},
    node('div', {style: 'flex:1 1 420px;min-width:0'}, grid(0, 'load of an expert / even load', layers.map(l => 'layer ' + l), experts, (r, c) => D.all.layers[r].shares[c] * E - 1,
      (r, c) => (D.all.layers[r].shares[c] * E).toFixed(2), (r, c) => `layer ${r}, expert ${c}: ${percent(D.all.layers[r].shares[c], 2)} %`)),
    node('table', {}, node('tr', {}, ...['layer', 'entropy, bits', `of ${D.baselines.entropy_bits.toFixed(2)}`, 'largest', 'smallest', 'deviation', 'first weight'].map(h => node('th', {}, h))),
      ...D.all.layers.map((x, l) => node('tr', {}, ...[l, x.entropy_bits.toFixed(3), percent(x.entropy_bits / D.baselines.entropy_bits) + ' %',
        x.max_load.toFixed(2), x.min_load.toFixed(2), x.load_deviation.toFixed(3), x.first_weight.toFixed(3)].map(v => node('td', {}, String(v))))))));
}
function drawDrift() {
  const from = D.drift.first_position, names = from.map((p, i) => i + 1 < from.length ? `${p}-${from[i + 1] - 1}` : `${p}-`);
  const colour = l => `hsl(${210 + (L < 2 ? 0 : l / (L - 1) * 150)} 60% 52%)`;
  $('drift').replaceChildren(node('div', {style: 'max-width:720px'}, lines('', state.layers.map(l => ({name: 'layer ' + l, colour: colour(l),
    values: D.drift.bits.map(row => row[l])})), names, null, [], 'position', v => v.toFixed(4) + ' bits', v => String(+v.toPrecision(2)), 'positions'),
    node('div', {className: 'legend'}, ...state.layers.map(l => node('span', {}, node('i', {style: 'background:' + colour(l)}), 'layer ' + l)))),
    node('p', {className: 'note'}, 'Tokens: ' + names.map((name, i) => `${name}: ${D.drift.tokens[i].toLocaleString('en')}`).join('; ')));
}
function drawTokens() {
  const spaced = text => text.replace(/\n/g, '\u21b5').replace(/\t/g, '\u21e5').replace(/ /g, '\u2423');
  $('tokens').replaceChildren(...state.layers.map(l => node('div', {}, node('h3', {}, 'layer ' + l), node('table', {className: 'tokens'},
    ...D.tokens_of_experts[l].map((list, e) => node('tr', {}, node('td', {className: 'expert', style: `background:var(--e${e})`}, 'expert ' + e),
      node('td', {}, node('div', {className: 'chips'}, ...list.map(token => node('span', {title: `token ${token.id}: ${token.here} of ${token.count}`},
        node('code', {}, spaced(token.text)), node('small', {}, ` ${percent(token.here / token.count, 0)} % of ${token.count}`)))))))))));
}
function drawAgainst() {
  if (!D.against) return;
  $('against').hidden = false;
  const A = D.against, cell = value => node('td', {}, value), layers = A.all.layers;
  $('againstbody').replaceChildren(node('p', {className: 'note'}, `${A.model.path}, ${A.tokens.toLocaleString('en')} tokens` +
    (A.agreement ? ', the same ones: the choices are compared token by token.' : ', other ones: only its own figures can be shown.')),
    node('table', {}, node('tr', {}, ...['layer', ...(A.agreement ? ['same first choice', 'same experts', 'load distance, bits'] : []),
      'first repeated, here', 'there', 'in common, here', 'there', 'entropy, here', 'there'].map(h => node('th', {}, h))),
    ...layers.map((there, l) => { const here = D.all.layers[l], same = A.agreement && A.agreement[l];
      return node('tr', {}, cell(String(l)), ...(same ? [cell(percent(same.same_first) + ' %'), cell(percent(same.same_experts) + ' %'), cell(same.load_distance_bits.toFixed(4))] : []),
        cell(here ? percent(here.first[0]) : '-'), cell(percent(there.first[0])), cell(here ? percent(here.any[0]) : '-'), cell(percent(there.any[0])),
        cell(here ? here.entropy_bits.toFixed(3) : '-'), cell(there.entropy_bits.toFixed(3))); })));
}
function draw() {
  drawControls();
  $('load').replaceChildren(...state.layers.map(bars));
  drawTable5(); drawFigure8(); drawGrids(); drawDrift(); drawTokens();
}
$('text').append(...TEXTS.map((text, i) => node('option', {value: i}, text.domain)));
$('text').onchange = event => { state.text = +event.target.value; drawFigure8(); };
$('domains').append(...legend());
drawFacts(); draw(); drawFigure10(); drawAgainst();
)js";

}  // namespace mixtral::observatory
