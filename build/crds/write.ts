import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { definitionFiles } from './custom-resources.ts';

const directory = join(import.meta.dirname, '../../k8s/crds');
await mkdir(directory, { recursive: true });
for (const [file, text] of definitionFiles()) await writeFile(join(directory, file), text);
