import * as lib from './lib.mjs';

const here = lib.selector();
const rate = (metric, range = '[$__rate_interval]') => `rate(${metric}${here}${range})`;
const growth = (by, metric, range = lib.inBar) => `sum by (${by}) (increase(${metric}${here}${range})) > 0`;
const left = `pushdoctor_github_rate_limit_remaining${here} / (pushdoctor_github_rate_limit_limit${here} > 0)`;
const valid = { 0: ['refused', 'red'], 1: ['accepted', 'green'] };

const state = [
  lib.one({
    title: 'Services down', unit: 'short', base: 'green', thresholds: { 1: 'red' }, none: 'not scraped',
    description: 'Services that answered Prometheus in the time shown and do not now.',
    expr: lib.orZero(`count(up${here} == 0 and on (job, instance) present_over_time(pushdoctor_build_info${here}[$__range]))`),
  }, [3, 4]),
  lib.one({
    title: 'Version', unit: 'short', legend: '{{version}}', text: 'name', none: 'not scraped',
    description: 'The version of pushdoctor; more than one while some were not upgraded.',
    expr: `count by (version) (pushdoctor_build_info${here})`,
  }, [3, 4]),
  lib.one({
    title: 'Last collection', unit: 's', decimals: 1, base: 'green', thresholds: { 300: 'orange', 900: 'red' }, none: 'none went well',
    description: 'Time since any repository was polled well, by the service where it is longest. Polls come each minute (collect.interval): orange after 5 minutes, red after 15.',
    expr: `max(min by (job, instance) (time() - pushdoctor_last_collect_timestamp_seconds${here}))`,
  }, [3, 4]),
  lib.one({
    title: 'Repositories not read', unit: 'short', base: 'green', thresholds: { 1: 'red' }, none: 'not scraped',
    description: 'Repositories where a job may have ended half an hour ago and was not read, those that could never be read among them. Which they are, and why, stands below.',
    expr: lib.unread(here),
  }, [3, 4]),
  lib.one({
    title: 'Credentials', unit: 'short', none: 'not used yet',
    description: 'Whether GitHub accepts the credential that is refused most: the token, or one installation of the App.',
    mappings: valid,
    expr: `min(pushdoctor_github_credential_valid${here})`,
  }, [3, 4]),
  lib.one({
    title: 'Rate limit left', unit: 'percentunit', decimals: 0, base: 'red', thresholds: { 0.1: 'orange', 0.25: 'green' }, none: 'GitHub tells none',
    description: 'The smallest share that is left of a rate limit in its window. Red below 10 %, where pushdoctor stops and leaves the rest to others (github.reserve).',
    expr: `min(${left})`,
  }, [3, 4]),
  lib.one({
    title: 'Last reload', unit: 'short', none: 'not scraped',
    description: 'Whether the configuration could be loaded when that was last tried. One that could not leaves the one before in force.',
    mappings: { 0: ['failed', 'red'], 1: ['good', 'green'] },
    expr: `min(pushdoctor_config_last_reload_successful${here})`,
  }, [3, 4]),
  lib.one({
    title: 'Configuration of', unit: 'dateTimeFromNow', none: 'not scraped',
    description: 'When the configuration in force was loaded, of the service where that is longest ago.',
    expr: `1000 * min(pushdoctor_config_last_reload_success_timestamp_seconds${here})`,
  }, [3, 4]),
];

const collecting = [
  lib.lines({
    title: 'Lag by repository', unit: 's', legend: '{{repository}}', none: 'Nothing lagged in this time.', thresholds: { 600: 'orange', 1800: 'red' },
    description: 'Age of the oldest job that has ended and was not read, of the eight repositories that were worst in the time shown.',
    expr: `max by (repository) (pushdoctor_collect_lag_seconds${here}) and on (repository) topk(8, max by (repository) (max_over_time(pushdoctor_collect_lag_seconds${here}[$__range] @ end())) > 0)`,
  }),
  lib.lines({
    title: 'Jobs that wait', unit: 'short', decimals: 0, legend: '{{repository}}', stacked: true, none: 'No job waited in this time.',
    description: 'Jobs that have ended and were not read, of the eight repositories with most of them in the time shown.',
    expr: `sum by (repository) (pushdoctor_pending_jobs${here}) and on (repository) topk(8, sum by (repository) (max_over_time(pushdoctor_pending_jobs${here}[$__range] @ end())) > 0)`,
  }),
  lib.lines({
    title: 'Time since the last collection', unit: 's', none: 'No poll went well yet.', thresholds: { 300: 'orange', 900: 'red' },
    description: 'Time since the last poll that went well: of the repository where it is longest, and of the one in the middle. Only the first one high is one repository\'s trouble; one that is archived is polled each hour.',
    exprs: {
      longest: `max(time() - pushdoctor_last_collect_timestamp_seconds${here})`,
      median: `quantile(0.5, time() - pushdoctor_last_collect_timestamp_seconds${here})`,
    },
  }),
  lib.counts({
    title: 'Jobs read', interval: '15m', legend: '{{result}}', none: 'No job was read in this time.',
    description: 'Jobs whose log was read, by what came of it: clean, findings, verify (a success looked at since something was broken); truncated, expired and unreadable were not read whole.',
    expr: growth('result', 'pushdoctor_jobs_read_total'),
    colours: { clean: 'green', findings: 'red', verify: 'blue' },
  }, [12, 8]),
  lib.counts({
    title: 'Errors by reason', interval: '15m', legend: '{{reason}}', none: 'Nothing went wrong in this time.',
    description: 'What could not be collected, by reason. What fails for a while is tried again; which repository it is, stands below.',
    expr: growth('reason', 'pushdoctor_collect_errors_total'),
  }, [12, 8]),
  lib.rows({
    title: 'Errors by repository', unit: 'short', none: 'Nothing went wrong in this time.',
    description: 'What could not be collected in the time shown, by repository and reason; by the pattern of the configuration where its repositories could not be listed.',
    exprs: { A: `topk(20, ${growth('repository, reason', 'pushdoctor_collect_errors_total', lib.shown)})` },
    columns: {
      repository: { name: 'Repository' },
      reason: { name: 'Reason' },
      A: { name: 'Errors', unit: 'short', decimals: 0, bar: true },
    },
  }, [12, 8]),
  lib.sparse({
    title: 'Time to diagnose a log', unit: 's', interval: '15m', none: 'No log was read in this time.',
    description: 'How long one job\'s log took to fetch, parse and classify: half of them, and 95 of 100, within these.',
    exprs: {
      median: `histogram_quantile(0.5, sum by (le) (${rate('pushdoctor_diagnose_duration_seconds_bucket', lib.inBar)})) >= 0`,
      '95 of 100': `histogram_quantile(0.95, sum by (le) (${rate('pushdoctor_diagnose_duration_seconds_bucket', lib.inBar)})) >= 0`,
    },
  }),
  lib.lines({
    title: 'Logs read', unit: 'Bps', legend: 'logs', none: 'not scraped',
    description: 'Bytes of logs that were read each second.',
    expr: `sum(${rate('pushdoctor_log_bytes_total')})`,
  }),
];

const github = [
  lib.lines({
    title: 'Requests by endpoint', unit: 'reqps', stacked: true, legend: '{{endpoint}}', none: 'No request yet.',
    description: 'Requests to GitHub each second by endpoint.',
    expr: `sum by (endpoint) (${rate('pushdoctor_github_requests_total')})`,
  }),
  lib.lines({
    title: 'Requests by answer', unit: 'reqps', stacked: true, legend: '{{code}}', none: 'No request yet.',
    description: "Requests to GitHub each second by HTTP status; none where no answer came. 304 costs nothing of the rate limit.",
    expr: `sum by (code) (${rate('pushdoctor_github_requests_total')})`,
  }),
  lib.sparse({
    title: 'How long requests take', unit: 's', legend: '{{endpoint}}', none: 'No request in this time.',
    description: 'Within this time 95 of 100 requests had the headers of their answer, by endpoint.',
    expr: `histogram_quantile(0.95, sum by (endpoint, le) (${rate('pushdoctor_github_request_duration_seconds_bucket')})) >= 0`,
  }),
  lib.lines({
    title: 'Rate limit left', unit: 'percentunit', max: 1, legend: '{{credential}} {{resource}}', none: 'GitHub tells of no limit.', thresholds: { 0.1: 'red' },
    description: 'The share that is left of each rate limit in its window, by credential. Below 10 % pushdoctor stops (github.reserve).',
    expr: `min by (credential, resource) (${left})`,
  }),
  lib.rows({
    title: 'Credentials', unit: 'short', ascending: true, none: 'No credential was used yet.',
    description: 'Each credential and resource with what is left now and when its window ends, the one with the least first.',
    exprs: {
      A: `min by (credential, resource) (${left})`,
      B: `min by (credential, resource) (pushdoctor_github_rate_limit_remaining${here})`,
      C: `min by (credential, resource) (pushdoctor_github_rate_limit_limit${here})`,
      D: `min by (credential, resource) (pushdoctor_github_rate_limit_reset_timestamp_seconds${here}) - time()`,
      E: `min by (credential) (pushdoctor_github_credential_valid${here}) + on (credential) group_left (resource) 0 * min by (credential, resource) (pushdoctor_github_rate_limit_remaining${here})`,
    },
    columns: {
      credential: { name: 'Credential' },
      resource: { name: 'Resource' },
      A: { name: 'Left', unit: 'percentunit', decimals: 0 },
      B: { name: 'Requests left', unit: 'short', decimals: 0 },
      C: { name: 'Limit', unit: 'short', decimals: 0 },
      D: { name: 'Window ends in', unit: 's', decimals: 0 },
      E: { name: 'Accepted', mappings: valid },
    },
  }, [24, 6]),
];

const webhook = [
  lib.counts({
    title: 'Webhook deliveries by result', interval: '15m', legend: '{{result}}', none: 'No delivery in this time.',
    description: 'Deliveries of GitHub by what became of them. bad_signature: somebody has another secret, or guesses.',
    expr: growth('result', 'pushdoctor_webhook_deliveries_total'),
    colours: { accepted: 'green', ignored: 'blue', failed: 'red', bad_signature: 'orange' },
  }, [8, 8]),
  lib.counts({
    title: 'Webhook deliveries by event', interval: '15m', legend: '{{event}}', none: 'No delivery in this time.',
    description: 'Deliveries of GitHub by event; other until the signature is known to be good.',
    expr: growth('event', 'pushdoctor_webhook_deliveries_total'),
  }, [8, 8]),
  lib.lines({
    title: 'Queue of the webhook', unit: 'short', decimals: 0, legend: '{{instance}}', none: 'not scraped',
    description: 'What the webhook has told of and was not looked at yet. It should come back to 0 within minutes.',
    expr: `max by (instance) (pushdoctor_queue_length${here})`,
  }, [8, 8]),
];

const running = [
  lib.lines({
    title: 'Size of the store', unit: 'bytes', legend: '{{instance}}', none: 'not scraped',
    description: "Size of the store's file. It does not shrink by itself: store compact gives free pages back.",
    expr: `max by (instance) (pushdoctor_store_bytes${here})`,
  }, [8, 8]),
  lib.lines({
    title: 'Memory', unit: 'bytes', legend: '{{instance}}', none: 'not scraped',
    description: 'Resident memory of the process, with what is mapped of the store\'s file: the kernel takes that back when it needs it. The heap is what pushdoctor itself uses.',
    exprs: {
      'resident {{instance}}': `max by (instance) (process_resident_memory_bytes${here} and on (job, instance) pushdoctor_build_info${here})`,
      'heap {{instance}}': `max by (instance) (go_memstats_heap_alloc_bytes${here} and on (job, instance) pushdoctor_build_info${here})`,
    },
  }, [8, 8]),
  lib.lines({
    title: 'CPU', unit: 'percentunit', legend: '{{instance}}', none: 'not scraped',
    description: 'CPU time of the process; 100 % is one core.',
    expr: `max by (instance) (${rate('process_cpu_seconds_total')} and on (job, instance) pushdoctor_build_info${here})`,
  }, [8, 8]),
  lib.lines({
    title: 'Series folded by the limit', unit: 'short', decimals: 0, legend: '{{metric}}', none: 'not scraped', thresholds: { 1: 'red' },
    description: 'Series that became part of other, by metric. Above 0, names are missing in the dashboards: raise metrics.max_series, or watch less.',
    expr: `max by (metric) (pushdoctor_series_dropped_total${here})`,
  }, [8, 8]),
  lib.lines({
    title: 'Time of a scrape', unit: 's', legend: '{{instance}}', none: 'not scraped',
    description: 'How long Prometheus takes to scrape the service. Prometheus gives up after scrape_timeout, 10 s by default.',
    expr: `max by (instance) (scrape_duration_seconds${here} and on (job, instance) pushdoctor_build_info${here})`,
  }, [8, 8]),
  lib.lines({
    title: 'Series', unit: 'short', decimals: 0, legend: '{{instance}}', none: 'not scraped',
    description: 'Samples of one scrape: what the service costs Prometheus.',
    expr: `max by (instance) (scrape_samples_scraped${here} and on (job, instance) pushdoctor_build_info${here})`,
  }, [8, 8]),
];

export default lib.make({
  uid: 'pushdoctor-collector', title: 'pushdoctor: collector', from: 'now-6h', metric: 'pushdoctor_build_info',
  description: 'Whether pushdoctor itself is well: does it read in time, does GitHub let it, and what does it cost.',
  variables: [],
  annotations: [{
    name: 'Configuration loaded', colour: 'blue', title: 'Configuration loaded', text: '{{instance}}',
    expr: `changes(pushdoctor_config_last_reload_success_timestamp_seconds${here}[$__rate_interval]) > 0`,
  }],
  rows: [['State', ...state], ['Collecting', ...collecting], ['GitHub', ...github], ['Webhook', ...webhook], ['Process', ...running]],
});
