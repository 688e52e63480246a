// The words in which the dashboards are written: queries, panels, variables and links, each as every dashboard here wants it.
import * as bargauge from '@grafana/grafana-foundation-sdk/bargauge';
import * as common from '@grafana/grafana-foundation-sdk/common';
import * as dashboard from '@grafana/grafana-foundation-sdk/dashboard';
import * as prometheus from '@grafana/grafana-foundation-sdk/prometheus';
import * as stat from '@grafana/grafana-foundation-sdk/stat';
import * as statetimeline from '@grafana/grafana-foundation-sdk/statetimeline';
import * as table from '@grafana/grafana-foundation-sdk/table';
import * as timeseries from '@grafana/grafana-foundation-sdk/timeseries';

export const datasource = { type: 'prometheus', uid: '${datasource}' };

// causesPage says of each cause what to do; the fragment is the cause.
const causesPage = 'https://github.com/akkospace/pushdoctor/blob/main/docs/causes.md';

// The values of $job and $instance go with every link from one dashboard to another.
const keep = '${datasource:queryparam}&${job:queryparam}&${instance:queryparam}&${pushdoctor:queryparam}&${__url_time_range}';

// Links of cells and bars. In a table ${__data.fields.x} is the row's label x.
export const toRepository = (name) => ({
  title: 'This repository in depth', url: `/d/pushdoctor-repository?var-repository=${name}&${keep}`,
});
export const toCollector = { title: 'Which, and why', url: `/d/pushdoctor-collector?${keep}` };
export const toFindings = (repository) => ({
  title: 'Its failures at pushdoctor', url: `\${pushdoctor}/?repository=${repository}`, targetBlank: true,
});
export const toCause = (cause) => ({ title: 'What it means and what to do', url: `${causesPage}#${cause}`, targetBlank: true });
export const toCauseFindings = (cause, repository = '') => ({
  title: 'Such failures at pushdoctor', url: `\${pushdoctor}/?cause=${cause}${repository && `&repository=${repository}`}`, targetBlank: true,
});

// selector is what stands in braces after a metric: that of $job and $instance, and more.
export const selector = (...more) => `{${['job=~"$job"', 'instance=~"$instance"', ...more].join(', ')}}`;

// What stands behind a counter in increase() or rate(): the time that is shown, or a bar's. A bar begins at a whole hour or so, as Grafana floors
// the times that it asks for, and looks ahead from there: a look back would leave out what is newest. $__rate_interval makes a bar count its time
// and one scrape more, so that nothing falls between two bars.
export const shown = '[$__range]';
export const inBar = '[$__rate_interval] offset -$__interval';

// joined adds labels of a metric that tells words to expr. Two pushdoctors may run, each with the same words or another version's; and none
// in the time of backfilled history, which then is shown without.
export const joined = (expr, on, labels, info) => `(${expr} * on (${on}) group_left (${labels}) topk by (${on}) (1, ${info}) or ${expr} unless on (${on}) ${info})`;
export const worded = (expr) => joined(expr, 'cause', 'title, lasting', `pushdoctor_cause_info${selector()}`);

// orZero stands for expr where it has no series, but not where no pushdoctor is scraped: that is no data and not 0.
export const orZero = (expr) => `${expr} or sum(0 * pushdoctor_build_info${selector()})`;

// share is a part of all, 0 where there is none of the part, and no data where there is nothing at all. of makes a sum of what matches.
export const share = (of, part, all) => `(${of(part)} or 0 * ${of()}) / (${of(all)} > 0)`;

// unread counts the repositories of which a job may have ended half an hour ago that was not read.
export const unread = (of) => orZero(`count(max by (repository) (pushdoctor_collect_lag_seconds${of}) > 1800)`);

const query = (ref, expr) => new prometheus.DataqueryBuilder().refId(ref).expr(expr).datasource(datasource).editorMode(prometheus.QueryEditorMode.Code);

// steps makes thresholds of colours by the values from which they hold.
const steps = (base, colours) => new dashboard.ThresholdsConfigBuilder()
  .mode(dashboard.ThresholdsMode.Absolute)
  .steps([{ value: null, color: base }, ...Object.entries(colours).map(([value, color]) => ({ value: Number(value), color }))
    .sort((a, b) => a.value - b.value)]);

// mapping shows values as words: {0: ['refused', 'red']}.
const mapping = (values) => Object.entries(values)
  .map(([value, [text, color]]) => ({ type: dashboard.MappingType.ValueToText, options: { [value]: { text, color } } }));

const links = (all) => all.map((l) => {
  const link = new dashboard.DashboardLinkBuilder(l.title).type(dashboard.DashboardLinkType.Link).url(l.url);
  return l.targetBlank ? link.targetBlank(true) : link;
});

// common properties of all kinds of panels.
function dress(panel, p, size) {
  const [w, h] = size;
  panel.title(p.title).description(p.description).datasource(datasource).span(w).height(h).unit(p.unit).noValue(p.none ?? 'no data');
  panel.thresholds(steps(p.base ?? 'text', p.thresholds ?? {}));
  if (p.decimals !== undefined) panel.decimals(p.decimals);
  if (p.min !== undefined) panel.min(p.min);
  if (p.max !== undefined) panel.max(p.max);
  if (p.mappings) panel.mappings(mapping(p.mappings));
  if (p.links) panel.dataLinks(links(p.links));
  return panel;
}

// one shows the value of an expression now, or over the whole time that is shown. No data has a colour of its own: else it would have that
// of the lowest values, which is green mostly.
export function one(p, size) {
  return dress(new stat.PanelBuilder(), p, size)
    .mappings([...mapping(p.mappings ?? {}), { type: dashboard.MappingType.SpecialValue, options: { match: 'null', result: { text: p.none, color: 'purple' } } }])
    .withTarget(query('A', p.expr).instant().legendFormat(p.legend ?? '__auto'))
    .graphMode(common.BigValueGraphMode.None)
    .colorMode(p.thresholds || p.mappings ? common.BigValueColorMode.Background : common.BigValueColorMode.None)
    .textMode(p.text ?? (p.legend ? common.BigValueTextMode.ValueAndName : common.BigValueTextMode.Value))
    .reduceOptions(new common.ReduceDataOptionsBuilder().calcs(['lastNotNull']));
}

// ranked compares series over the whole time that is shown.
export function ranked(p, size) {
  return dress(new bargauge.PanelBuilder(), { min: 0, ...p }, size)
    .withTarget(query('A', p.expr).instant().legendFormat(p.legend))
    .orientation(common.VizOrientation.Horizontal)
    .displayMode(common.BarGaugeDisplayMode.Basic)
    .valueMode(common.BarGaugeValueMode.Text)
    .reduceOptions(new common.ReduceDataOptionsBuilder().calcs(['lastNotNull']))
    .colorScheme(new dashboard.FieldColorBuilder().mode(dashboard.FieldColorModeId.Fixed).fixedColor(p.colour ?? 'orange'));
}

function series(p, size) {
  const calcs = p.calcs ?? ['lastNotNull', 'max'];
  const panel = dress(new timeseries.PanelBuilder(), { min: 0, ...p }, size)
    .colorScheme(new dashboard.FieldColorBuilder().mode(dashboard.FieldColorModeId.PaletteClassicByName))
    .legend(new common.VizLegendOptionsBuilder().showLegend(true)
      .displayMode(common.LegendDisplayMode.Table)
      .placement(size[0] > 8 ? common.LegendPlacement.Right : common.LegendPlacement.Bottom)
      .calcs(calcs).sortBy(calcs[0] === 'sum' ? 'Total' : 'Max').sortDesc(true))
    .tooltip(new common.VizTooltipOptionsBuilder().mode(common.TooltipDisplayMode.Multi).sort(common.SortOrder.Descending));
  Object.entries(p.exprs ?? { [p.legend]: p.expr }).forEach(([legend, expr], i) => {
    const q = query(String.fromCharCode(65 + i), expr).range().legendFormat(legend);
    panel.withTarget(p.exemplars ? q.exemplar(true) : q);
  });
  Object.entries(p.colours ?? {}).forEach(([name, colour]) => {
    panel.overrideByName(name, [{ id: 'color', value: { mode: 'fixed', fixedColor: colour } }]);
  });
  if (p.thresholds) {
    panel.thresholdsStyle(new common.GraphThresholdsStyleConfigBuilder().mode(common.GraphThresholdsStyleMode.Dashed));
  }
  return panel;
}

// lines shows how values move. Steps, since what is between two scrapes is not known. stacked is for series that are always there.
export const lines = (p, size = [12, 8]) => series(p, size)
  .drawStyle(common.GraphDrawStyle.Line).lineInterpolation(common.LineInterpolation.StepAfter).lineWidth(1)
  .fillOpacity(p.stacked ? 30 : 5).showPoints(common.VisibilityMode.Never)
  .stacking(new common.StackingConfigBuilder().mode(p.stacked ? common.StackingMode.Normal : common.StackingMode.None).group('A'));

// sparse shows what is known now and then only. The last that was known is no present.
export const sparse = (p, size) => lines({ calcs: ['max'], ...p }, size)
  .interval(p.interval).showPoints(common.VisibilityMode.Always).pointSize(5).spanNulls(false);

const bars = (p, size = [12, 9]) => series({ unit: 'short', decimals: 0, ...p }, size)
  .drawStyle(common.GraphDrawStyle.Bars).lineWidth(0).fillOpacity(80).barAlignment(common.BarAlignment.After)
  .stacking(new common.StackingConfigBuilder().mode(common.StackingMode.Normal).group('A'));

// counts shows how many events there were in each bar's time, inBar: an hour at least, as that is how far apart the samples of
// backfilled history are. What nothing was counted of has no bar and no place in the legend.
export const counts = (p, size) => bars({ calcs: ['sum'], ...p }, size).interval(p.interval ?? '1h').maxDataPoints(200);

// levels shows how high series stood from each bar's beginning on, of series that come and go.
export const levels = (p, size) => bars({ calcs: ['max'], ...p }, size).interval('5m');

// states shows in which state each series was.
export const states = (p, size = [24, 6]) => dress(new statetimeline.PanelBuilder(), p, size)
  .withTarget(query('A', p.expr).range().legendFormat(p.legend))
  .colorScheme(new dashboard.FieldColorBuilder().mode(dashboard.FieldColorModeId.Thresholds))
  .mergeValues(true).showValue(common.VisibilityMode.Never).rowHeight(0.8).lineWidth(0).fillOpacity(80)
  .legend(new common.VizLegendOptionsBuilder().showLegend(true).displayMode(common.LegendDisplayMode.List).placement(common.LegendPlacement.Bottom).calcs([]));

// rows is a table with a row for each set of labels. columns are, in their order, the labels that are shown and the queries' values, with
// what they are called; they are sorted by the first query's, the highest first.
export function rows(p, size) {
  const panel = dress(new table.PanelBuilder(), p, size);
  const refs = Object.keys(p.exprs);
  refs.forEach((ref) => panel.withTarget(query(ref, p.exprs[ref]).instant().format(prometheus.PromQueryFormat.Table)));
  const nameOf = (key) => (refs.includes(key) ? `Value #${key}` : key);
  const field = (key) => (refs.length === 1 && refs[0] === key ? 'Value' : nameOf(key));
  const renameByName = {};
  const indexByName = {};
  Object.entries(p.columns).forEach(([key, column], i) => {
    renameByName[field(key)] = column.name;
    indexByName[field(key)] = i;
    const properties = [{ id: 'noValue', value: column.none ?? '–' }]; // or an empty cell has the text of the empty table
    if (column.unit) properties.push({ id: 'unit', value: column.unit });
    if (column.decimals !== undefined) properties.push({ id: 'decimals', value: column.decimals });
    if (column.width) properties.push({ id: 'custom.width', value: column.width });
    if (column.links) properties.push({ id: 'links', value: links(column.links).map((l) => l.build()) });
    if (column.mappings) properties.push({ id: 'mappings', value: mapping(column.mappings) });
    if (column.bar) {
      properties.push({ id: 'custom.cellOptions', value: { type: 'gauge', mode: 'basic', valueDisplayMode: 'text' } });
      properties.push({ id: 'min', value: 0 }, { id: 'color', value: { mode: 'fixed', fixedColor: 'orange' } });
    }
    panel.overrideByName(column.name, properties);
  });
  panel.withTransformation({ id: 'merge', options: {} });
  // A table in this form has the time of the query too; what is not in columns is not shown.
  panel.withTransformation({ id: 'filterFieldsByName', options: { include: { names: Object.keys(p.columns).map(field) } } });
  panel.withTransformation({ id: 'organize', options: { excludeByName: {}, indexByName, renameByName } });
  return panel.sortBy([new common.TableSortByFieldStateBuilder().displayName(p.columns[refs[0]].name).desc(!p.ascending)]);
}

// causeColumns are the columns of causes that are worded.
export const causeColumns = {
  cause: { name: 'Cause', links: [toCause('${__value.raw}')], width: 220 },
  title: { name: 'In words' },
};

export const row = (title) => new dashboard.RowBuilder(title);

const all = { text: 'All', value: '$__all' };

const queried = (name, label, description, expr) => new dashboard.QueryVariableBuilder(name).label(label).description(description)
  .datasource(datasource).query({ query: expr, refId: name })
  .refresh(dashboard.VariableRefresh.OnTimeRangeChanged).sort(dashboard.VariableSort.AlphabeticalAsc);

// many is a variable that may have several values. All is matched by whatever, or by nothing: history from a backfill has no instance.
export const many = (name, label, description, expr) => queried(name, label, description, expr).multi(true).includeAll(true).allValue('.*').current(all);

// single is a variable that has one value.
export const single = (name, label, description, expr) => queried(name, label, description, expr).multi(false).includeAll(false);

// make returns a dashboard of rows of panels. metric is what $job and $instance are looked up in; variables are further ones.
export function make(d) {
  const b = new dashboard.DashboardBuilder(d.title).uid(d.uid).description(d.description).tags(['pushdoctor']).readonly()
    .time({ from: d.from, to: 'now' }).refresh('5m').timezone('browser').tooltip(dashboard.DashboardCursorSync.Crosshair)
    .withVariable(new dashboard.DatasourceVariableBuilder('datasource').label('Data source').description('The Prometheus that scrapes pushdoctor.').type('prometheus'))
    .withVariable(many('job', 'Job', 'Jobs of Prometheus: the services, and backfilled history.', `label_values(${d.metric}, job)`))
    .withVariable(many('instance', 'Instance', 'Services. History has none: it is in All only.', `label_values(${d.metric}{job=~"$job"}, instance)`));
  d.variables.forEach((v) => b.withVariable(v));
  b.withVariable(new dashboard.TextBoxVariableBuilder('pushdoctor').label('pushdoctor').description("Where pushdoctor's own pages are: web.external_url.").defaultValue('http://localhost:9877'));
  b.annotation(new dashboard.AnnotationQueryBuilder().name('Annotations & Alerts').type('dashboard').builtIn(1).enable(true).hide(true)
    .iconColor('rgba(0, 211, 255, 1)').datasource({ type: 'grafana', uid: '-- Grafana --' }));
  d.annotations.forEach((a) => b.annotation(new dashboard.AnnotationQueryBuilder().name(a.name).datasource(datasource).enable(true)
    .iconColor(a.colour).target(query('A', a.expr).range().interval('1m')).titleFormat(a.title).textFormat(a.text)));
  b.link(new dashboard.DashboardLinkBuilder('pushdoctor').type(dashboard.DashboardLinkType.Dashboards).tags(['pushdoctor'])
    .asDropdown(false).includeVars(true).keepTime(true));
  b.link(new dashboard.DashboardLinkBuilder("pushdoctor's pages").type(dashboard.DashboardLinkType.Link).icon('external link')
    .tooltip('Each failure with its evidence and what to do.').url(d.page ?? '${pushdoctor}/').targetBlank(true));
  d.rows.forEach(([title, ...panels]) => {
    b.withRow(row(title));
    panels.forEach((p) => b.withPanel(p));
  });
  const built = b.build();
  built.panels.forEach((p, i) => { p.id = i + 1; });
  // The SDK gives every variable the fields of an interval's, which Grafana's schema does not have on the others.
  built.templating.list.forEach((v) => { delete v.auto; delete v.auto_min; delete v.auto_count; });
  return built;
}

// incident marks when a registry had trouble of its own.
export const incident = {
  name: 'Registry incidents', colour: 'red', title: 'Registry incident', text: '{{registry}}',
  expr: `max by (registry) (max_over_time(pushdoctor_registry_incident${selector()}[$__rate_interval])) == 1`,
};
