// Writes the dashboards as JSON into a folder: ../dashboards, or the one that is named.
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';

import collector from './collector.mjs';
import overview from './overview.mjs';
import repository from './repository.mjs';

const folder = process.argv[2] ?? fileURLToPath(new URL('../dashboards', import.meta.url));
mkdirSync(folder, { recursive: true });
for (const d of [overview, repository, collector]) {
  writeFileSync(join(folder, `${d.uid.replace('pushdoctor-', '')}.json`), `${JSON.stringify(d, null, 2)}\n`);
}
