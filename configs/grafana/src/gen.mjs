// Writes the dashboards as JSON into a folder: ../dashboards, or the one that is named.
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';

import collector from './collector.mjs';
import overview from './overview.mjs';
import repository from './repository.mjs';

const folder = process.argv[2] ?? fileURLToPath(new URL('../dashboards', import.meta.url));
mkdirSync(folder, { recursive: true });

// The SDK puts every link into a menu that newer versions of Grafana have, where some are not drawn: https://github.com/grafana/grafana/issues/115084
const drawn = (key, value) => (key === 'placement' && value === 'inControlsMenu' ? undefined : value);

for (const d of [overview, repository, collector]) {
  writeFileSync(join(folder, `${d.uid.replace('pushdoctor-', '')}.json`), `${JSON.stringify(d, drawn, 2)}\n`);
}
