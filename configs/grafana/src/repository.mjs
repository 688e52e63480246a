import * as lib from './lib.mjs';

const repository = 'repository="$repository"';
const named = lib.selector(repository, 'workflow=~"$workflow"');
const whole = lib.selector(repository); // of metrics that know no workflow
const increase = (metric, range, ...more) => `increase(${metric}${lib.selector(repository, 'workflow=~"$workflow"', ...more)}${range})`;
const growth = (by, metric, range) => `sum by (${by}) (${increase(metric, range)}) > 0`;
const total = (metric) => (...more) => `sum(${increase(metric, lib.shown, ...more)})`;

const now = [
  lib.one({
    title: 'Broken now', unit: 'short', base: 'green', thresholds: { 1: 'red' }, none: 'not scraped',
    description: 'Images whose push by a job on a watched ref has failed and has not succeeded since.',
    expr: lib.orZero(`sum(pushdoctor_push_broken${named})`),
  }, [4, 4]),
  lib.one({
    title: 'Broken for longest', unit: 's', base: 'green', thresholds: { 1: 'yellow', 3600: 'orange', 86400: 'red' }, decimals: 1, none: 'not scraped',
    description: 'Since the first failure of what is broken for longest. Orange after an hour, red after a day.',
    mappings: { 0: ['nothing', 'green'] },
    expr: lib.orZero(`max(time() - pushdoctor_push_broken_since_timestamp_seconds${named})`),
  }, [4, 4]),
  lib.one({
    title: 'Failed pushes', unit: 'short', decimals: 0, none: 'none',
    description: 'Failed attempts to push an image that no retry in the same job cured, in the time shown.',
    expr: total('pushdoctor_push_failures_total')(),
  }, [4, 4]),
  lib.one({
    title: 'Cured by a retry', unit: 'percentunit', decimals: 1, none: 'nothing failed',
    description: 'Of the pushes that failed at first in the time shown, the share that a retry in the same job cured.',
    expr: lib.share(total('pushdoctor_pushes_total'), 'result="retried"', 'result=~"retried|failed"'),
  }, [4, 4]),
  lib.one({
    title: 'Runs that failed', unit: 'percentunit', decimals: 1, none: 'no run',
    description: 'Of the attempts of runs that ended as success or failure in the time shown, the share that failed, for whatever reason.',
    expr: lib.share(total('pushdoctor_runs_total'), 'conclusion="failure"', 'conclusion=~"success|failure"'),
  }, [4, 4]),
  lib.one({
    title: 'Reading lags by', unit: 's', base: 'green', thresholds: { 600: 'orange', 1800: 'red' }, decimals: 1, none: 'not watched',
    description: 'Age of the oldest job that has ended and was not read. What is shown here may be older than this. Orange after 10 minutes, red after 30.',
    mappings: { 0: ['nothing waits', 'green'] },
    expr: `max(pushdoctor_collect_lag_seconds${whole})`,
  }, [4, 4]),
  lib.rows({
    title: 'What is broken now', unit: 'short', none: 'Nothing is broken, if pushdoctor is scraped (see above).',
    description: 'Each row is one workflow, ref, registry and cause, the one that is broken for longest first.',
    exprs: {
      A: lib.worded(`max by (workflow, ref, registry, cause) (time() - pushdoctor_push_broken_since_timestamp_seconds${named})`),
      B: lib.worded(`sum by (workflow, ref, registry, cause) (pushdoctor_push_broken${named})`),
    },
    columns: {
      A: { name: 'Broken for', unit: 's', decimals: 1, width: 110 },
      workflow: { name: 'Workflow' },
      ref: { name: 'Ref', width: 110 },
      registry: { name: 'Registry', width: 110 },
      ...lib.causeColumns,
      lasting: { name: 'Lasting', width: 80 },
      B: { name: 'Images', unit: 'short', width: 80 },
    },
  }, [24, 6]),
];

const time = [
  lib.counts({
    title: 'Failures by cause', legend: '{{cause}}', none: 'Nothing failed in this time.', exemplars: true,
    description: 'Failed pushes by cause; each bar is an hour or more. A dot is one failure of its bar, and leads to the finding; the links of the bar lead to all.',
    expr: growth('cause', 'pushdoctor_push_failures_total', lib.inBar),
    links: [lib.toCause('${__field.labels.cause}'), lib.toCauseFindings('${__field.labels.cause}', '${repository}')],
  }),
  lib.counts({
    title: 'Pushes', legend: '{{result}}', none: 'No push was read in this time.',
    description: 'Pushes in the jobs that were read: good, failed, and retried (failed, then good within the job). Jobs that succeed are not read by default, so good ones are a part only.',
    expr: growth('result', 'pushdoctor_pushes_total', lib.inBar),
    colours: { good: 'green', failed: 'red', retried: 'yellow' },
  }),
  lib.counts({
    title: 'Failures by workflow', legend: '{{workflow}}', none: 'Nothing failed in this time.',
    description: 'Failed pushes by the file of the workflow; other is a file that is not on the default branch.',
    expr: growth('workflow', 'pushdoctor_push_failures_total', lib.inBar),
  }),
  lib.counts({
    title: 'Runs by conclusion', legend: '{{conclusion}}', none: 'No run ended in this time.',
    description: 'Attempts of runs that have ended, with what GitHub says of them. A run fails for many reasons besides a push.',
    expr: growth('conclusion', 'pushdoctor_runs_total', lib.inBar),
    colours: { success: 'green', failure: 'red', cancelled: 'semi-dark-purple' },
  }),
  lib.states({
    title: 'Broken over time', unit: 'short', decimals: 0, base: 'green', thresholds: { 1: 'red' }, legend: '{{workflow}} {{ref}}: {{cause}}', none: 'Nothing was broken in this time.',
    description: 'When the push of an image was broken, by workflow, ref and the cause of its newest failure; the value is how many images.',
    expr: `sum by (workflow, ref, cause) (pushdoctor_push_broken${named})`,
    links: [lib.toCause('${__field.labels.cause}')],
  }, [24, 7]),
];

const all = [
  lib.rows({
    title: 'All failures', unit: 'short', none: 'Nothing failed in this time.',
    description: 'Failed pushes in the time shown by workflow, registry, status and cause; and those of the same kind that a retry cured.',
    exprs: {
      A: lib.worded(`(${growth('workflow, registry, status, cause', 'pushdoctor_push_failures_total', lib.shown)})`),
      B: lib.worded(`(${growth('workflow, registry, status, cause', 'pushdoctor_push_failures_retried_total', lib.shown)})`),
    },
    columns: {
      workflow: { name: 'Workflow' },
      registry: { name: 'Registry', width: 110 },
      status: { name: 'Status', width: 80 },
      ...lib.causeColumns,
      A: { name: 'Failures', unit: 'short', decimals: 0, none: '0', bar: true },
      B: { name: 'Cured by a retry', unit: 'short', decimals: 0, none: '0', width: 130 },
    },
  }, [16, 9]),
  lib.rows({
    title: 'Workflows', unit: 'short', none: 'No run ended in this time.',
    description: 'The workflows of this repository by file, with the name that GitHub shows, and the attempts of their runs that ended in the time shown.',
    exprs: {
      A: lib.joined(`(${growth('workflow', 'pushdoctor_runs_total', lib.shown)})`, 'workflow', 'name', `pushdoctor_workflow_info${named}`),
    },
    columns: { workflow: { name: 'Workflow' }, name: { name: 'Name' }, A: { name: 'Runs', unit: 'short', decimals: 0, width: 80 } },
  }, [8, 9]),
];

const reading = [
  lib.counts({
    title: 'Jobs read', legend: '{{result}}', none: 'No job was read in this time.',
    description: 'Jobs whose log was read, by what came of it: clean, findings, verify (a success looked at since something was broken); truncated, expired and unreadable were not read whole.',
    expr: `sum by (result) (increase(pushdoctor_jobs_read_total${whole}${lib.inBar})) > 0`,
    colours: { clean: 'green', findings: 'red', verify: 'blue' },
  }),
  lib.counts({
    title: 'What could not be read', legend: '{{reason}}', none: 'All was read.',
    description: 'Errors of collecting by reason. What fails for a while is tried again.',
    expr: `sum by (reason) (increase(pushdoctor_collect_errors_total${whole}${lib.inBar})) > 0`,
  }),
];

export default lib.make({
  uid: 'pushdoctor-repository', title: 'pushdoctor: repository', from: 'now-7d', metric: 'pushdoctor_runs_total',
  description: 'One repository in depth: what is broken, what failed where and why, and whether its runs are read in time.',
  page: '${pushdoctor}/?repository=${repository}',
  variables: [
    lib.single('repository', 'Repository', 'A repository that pushdoctor watches.', 'label_values(pushdoctor_runs_total{job=~"$job", instance=~"$instance"}, repository)'),
    lib.many('workflow', 'Workflow', 'Files of workflows. Lag, jobs read and errors are those of the whole repository.', 'label_values(pushdoctor_runs_total{job=~"$job", instance=~"$instance", repository="$repository"}, workflow)'),
  ],
  annotations: [lib.incident],
  rows: [['$repository now', ...now], ['Over time', ...time], ['In the time shown', ...all], ['How it is read', ...reading]],
});
