// Writes a TypeScript file to stdout that holds the dashboards of a folder as values of Grafana's own type. tsc says what is wrong with them.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

console.log(`import type { AnnotationQuery, Dashboard, Panel, RowPanel } from '@grafana/schema';
import type { Dataquery } from '@grafana/grafana-foundation-sdk/prometheus';

// JSON holds what an enumeration's member stands for.
type Plain<T> = T extends string ? \`\${T}\` : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;

// Grafana's schema leaves open what a query is, and what the annotations of a data source have besides: ours are Prometheus'.
type Query = Omit<Dataquery, '_implementsDataqueryVariant' | 'refId'> & { refId: string };
type Annotation = AnnotationQuery<Query> & { titleFormat?: string, textFormat?: string };
type Ours = Omit<Dashboard, 'annotations' | 'panels'> & {
  annotations: { list: Annotation[] },
  panels: ((Omit<Panel, 'targets'> & { targets: Query[] }) | RowPanel)[],
};`);
for (const file of readdirSync(process.argv[2]).filter((f) => f.endsWith('.json'))) {
  console.log(`export const ${file.replace('.json', '')} = ${readFileSync(join(process.argv[2], file), 'utf8').trim()} satisfies Plain<Ours>;`);
}
