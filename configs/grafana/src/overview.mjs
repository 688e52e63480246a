import * as lib from './lib.mjs';

const named = lib.selector('repository=~"$repositories"');
const increase = (metric, range, ...more) => `increase(${metric}${lib.selector('repository=~"$repositories"', ...more)}${range})`;
const failures = (by, range) => `sum by (${by}) (${increase('pushdoctor_push_failures_total', range)}) > 0`;
const pushes = (...more) => `sum(${increase('pushdoctor_pushes_total', lib.shown, ...more)})`;
const by = 'repository, workflow, ref, registry, cause';
const recovery = (quantile, by, range) => `histogram_quantile(${quantile}, sum by (${by}) (increase(pushdoctor_time_to_recovery_seconds_bucket${lib.selector()}${range}))) >= 0`;

const now = [
  lib.one({
    title: 'Broken now', unit: 'short', base: 'green', thresholds: { 1: 'red' }, none: 'not scraped',
    description: 'Images whose push by a job on a watched ref has failed and has not succeeded since. Red from the first on.',
    expr: lib.orZero(`sum(pushdoctor_push_broken${named})`),
  }, [3, 4]),
  lib.one({
    title: 'Of these, lasting', unit: 'short', base: 'green', thresholds: { 1: 'red' }, none: 'not scraped',
    description: 'Those with a cause that stays until somebody changes something: a permission, a secret, a name. A retry does not cure them.',
    expr: lib.orZero(`sum(pushdoctor_push_broken${named} and on (cause) pushdoctor_cause_info${lib.selector('lasting="true"')})`),
  }, [3, 4]),
  lib.one({
    title: 'Broken for longest', unit: 's', base: 'green', thresholds: { 1: 'yellow', 3600: 'orange', 86400: 'red' }, decimals: 1, none: 'not scraped',
    description: 'Since the first failure of what is broken for longest. Orange after an hour, red after a day.',
    mappings: { 0: ['nothing', 'green'] },
    expr: lib.orZero(`max(time() - pushdoctor_push_broken_since_timestamp_seconds${named})`),
  }, [4, 4]),
  lib.one({
    title: 'Registry incidents', unit: 'short', base: 'green', thresholds: { 1: 'red' }, none: 'not scraped',
    description: 'Registries where three repositories or more had a failure within 15 minutes that may pass by itself.',
    expr: `sum(max by (registry) (pushdoctor_registry_incident${lib.selector()}))`,
  }, [3, 4]),
  lib.one({
    title: 'Repositories not read', unit: 'short', base: 'green', thresholds: { 1: 'red' }, none: 'not scraped', links: [lib.toCollector],
    description: 'Repositories where a job may have ended half an hour ago and was not read: what fails there is not known. The token, the quota, a right that is missing, or a repository that is gone.',
    expr: lib.unread(named),
  }, [4, 4]),
  lib.one({
    title: 'Failed pushes', unit: 'short', decimals: 0, none: 'none read yet',
    description: 'Failed attempts to push an image that no retry in the same job cured, in the time shown. History from a backfill is among them.',
    expr: `sum(${increase('pushdoctor_push_failures_total', lib.shown)})`,
  }, [3, 4]),
  lib.one({
    title: 'Cured by a retry', unit: 'percentunit', decimals: 1, none: 'nothing failed',
    description: 'Of the pushes that failed at first in the time shown, the share that a retry in the same job cured.',
    expr: lib.share(pushes, 'result="retried"', 'result=~"retried|failed"'),
  }, [4, 4]),
  lib.rows({
    title: 'What is broken now', unit: 'short', none: 'Nothing is broken, if pushdoctor is scraped (see above).',
    description: 'Each row is one repository, workflow, ref, registry and cause, the one that is broken for longest first.',
    exprs: {
      A: lib.worded(`max by (${by}) (time() - pushdoctor_push_broken_since_timestamp_seconds${named})`),
      B: lib.worded(`sum by (${by}) (pushdoctor_push_broken${named})`),
    },
    columns: {
      A: { name: 'Broken for', unit: 's', decimals: 1, width: 110 },
      repository: { name: 'Repository', links: [lib.toRepository('${__value.raw}'), lib.toFindings('${__value.raw}')] },
      workflow: { name: 'Workflow' },
      ref: { name: 'Ref', width: 110 },
      registry: { name: 'Registry', width: 110 },
      ...lib.causeColumns,
      lasting: { name: 'Lasting', width: 80 },
      B: { name: 'Images', unit: 'short', width: 80 },
    },
  }, [24, 9]),
];

const overTime = (label, more) => lib.counts({
  title: `Failures by ${label}`,
  expr: failures(label, lib.inBar), legend: `{{${label}}}`, none: 'Nothing failed in this time.', ...more,
}, more.size);

const time = [
  overTime('cause', {
    description: 'Failed pushes by cause; each bar is an hour or more. A dot is one failure of its bar, and leads to the finding; the links of the bar lead to all. Backfilled history and live counters are one, since no failure is in both.',
    exemplars: true, links: [lib.toCause('${__field.labels.cause}'), lib.toCauseFindings('${__field.labels.cause}')], size: [24, 10],
  }),
  overTime('registry', { description: 'Failed pushes by the registry that was pushed to.' }),
  overTime('status', { description: "Failed pushes by the registry's HTTP status; none where no answer came." }),
  lib.counts({
    title: 'Pushes', legend: '{{result}}', none: 'No push was read in this time.',
    description: 'Pushes in the jobs that were read: good, failed, and retried (failed, then good within the job). Jobs that succeed are not read by default, so good ones are a part only.',
    expr: `sum by (result) (${increase('pushdoctor_pushes_total', lib.inBar)}) > 0`,
    colours: { good: 'green', failed: 'red', retried: 'yellow' },
  }),
  lib.levels({
    title: 'Broken over time', legend: '{{cause}}', none: 'Nothing was broken in this time.',
    description: 'Images whose push was broken at the beginning of each bar, five minutes or more, by the cause of their newest failure.',
    expr: `sum by (cause) (pushdoctor_push_broken${named})`,
    links: [lib.toCause('${__field.labels.cause}')],
  }),
  lib.states({
    title: 'Registry incidents', unit: 'short', legend: '{{registry}}', none: 'No registry had an incident in this time.',
    description: 'Registries that had an incident in the time shown: three repositories or more with a failure within 15 minutes that may pass by itself.',
    mappings: { 0: ['quiet', 'green'], 1: ['incident', 'red'] },
    expr: `max by (registry) (pushdoctor_registry_incident${lib.selector()}) and on (registry) (max by (registry) (max_over_time(pushdoctor_registry_incident${lib.selector()}[$__range] @ end())) > 0)`,
  }, [24, 5]),
];

const most = [
  lib.ranked({
    title: 'Causes', unit: 'short', decimals: 0, legend: '{{cause}}', none: 'Nothing failed in this time.',
    description: 'The ten causes of most failures in the time shown.',
    expr: `sort_desc(topk(10, ${failures('cause', lib.shown)}))`,
    links: [lib.toCause('${__field.labels.cause}'), lib.toCauseFindings('${__field.labels.cause}')],
  }, [8, 10]),
  lib.rows({
    title: 'Repositories', unit: 'short', none: 'Nothing failed in this time.',
    description: 'The ten repositories with most failures in the time shown, and what of their pushes broke.',
    exprs: {
      A: `topk(10, ${failures('repository', lib.shown)})`,
      B: `sum by (repository) (pushdoctor_push_broken${named}) and topk(10, ${failures('repository', lib.shown)})`,
    },
    columns: {
      repository: { name: 'Repository', links: [lib.toRepository('${__value.raw}'), lib.toFindings('${__value.raw}')] },
      A: { name: 'Failures', unit: 'short', decimals: 0, bar: true },
      B: { name: 'Broken now', unit: 'short', decimals: 0, none: '0', width: 110 },
    },
  }, [16, 10]),
];

const recoveries = [
  lib.one({
    title: 'Median time to recovery', unit: 's', decimals: 1, none: 'no recovery',
    description: 'From the first failure to the good push, of what was fixed in the time shown. Not by repository: this histogram has no such label.',
    expr: recovery(0.5, 'le', lib.shown),
  }, [4, 8]),
  lib.one({
    title: 'Nine of ten within', unit: 's', decimals: 1, none: 'no recovery',
    description: 'The 90th percentile of the time to recovery, of what was fixed in the time shown.',
    expr: recovery(0.9, 'le', lib.shown),
  }, [4, 8]),
  lib.ranked({
    title: 'Median by cause', unit: 's', decimals: 1, legend: '{{cause}}', none: 'Nothing was fixed in this time.', colour: 'blue',
    description: 'The median time to recovery by cause, of what was fixed in the time shown: what takes long has an owner who is not told.',
    expr: `sort_desc(${recovery(0.5, 'cause, le', lib.shown)})`,
    links: [lib.toCause('${__field.labels.cause}')],
  }, [16, 8]),
  lib.counts({
    title: 'Recoveries', interval: '1d', legend: '{{registry}}', none: 'Nothing was fixed in this time.',
    description: 'Images whose push was broken and was good again, by day and registry. What became stale is not among them.',
    expr: `sum by (registry) (increase(pushdoctor_time_to_recovery_seconds_count${lib.selector()}${lib.inBar})) > 0`,
  }, [12, 8]),
  lib.sparse({
    title: 'Time to recovery by day', unit: 's', decimals: 1, interval: '1d', none: 'Nothing was fixed in this time.',
    description: 'Of what was fixed on a day: half within the median, nine of ten within the other. Few recoveries make a rough figure: the buckets are wide.',
    exprs: {
      median: recovery(0.5, 'le', lib.inBar),
      'nine of ten': recovery(0.9, 'le', lib.inBar),
    },
  }, [12, 8]),
];

export default lib.make({
  uid: 'pushdoctor-overview', title: 'pushdoctor: overview', from: 'now-7d', metric: 'pushdoctor_runs_total',
  description: 'Which pushes of container images are broken now, what fails most and why, and how long it takes to be good again.',
  // Not repository: the links between dashboards hand over variables, and there All is none.
  variables: [lib.many('repositories', 'Repositories', 'Repositories that pushdoctor watches.', 'label_values(pushdoctor_runs_total{job=~"$job", instance=~"$instance"}, repository)')],
  annotations: [lib.incident],
  rows: [['Now', ...now], ['Failures over time', ...time], ['What fails most', ...most], ['Recovery', ...recoveries]],
});
