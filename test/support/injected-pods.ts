import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseDocument } from 'yaml';
import type { Pod } from '#control-plane/injector/pod.ts';
import { type InjectorSettings, injectorSettings } from '#control-plane/injector/settings.ts';
import { loadConfig } from '#runtime/config.ts';

export const podsDirectory = join(import.meta.dirname, '../control-plane/injector/pods');
export const goldenDirectory = join(import.meta.dirname, '../control-plane/injector/injected');

/** The names of the manifests that are injected. */
export const podFiles = readdirSync(podsDirectory).sort();

const written = {
  image: 'registry.example/cellmesh:0.1.0',
  cellId: 'cell-1',
  trustDomain: 'cell-1.example',
  globalTrustDomain: 'example',
  controlPlane: 'cellmesh-control-plane.cellmesh.svc:14010',
};

export function testInjectorSettings(flags: Readonly<Record<string, string>> = {}): InjectorSettings {
  return loadConfig(injectorSettings, { environment: {}, flags: { ...written, ...flags } });
}

/** The same as a file. */
export function injectorSettingsText(settings: Readonly<Record<string, string>> = {}): string {
  return JSON.stringify({ ...written, ...settings });
}

/** A manifest as text, the same as value, and the pod that it makes. */
export function readPodFile(directory: string, file: string): { text: string; pod: Pod } {
  const text = readFileSync(join(directory, file), 'utf8');
  return { text, pod: podOf(parseDocument(text, { version: '1.1' }).toJS()) };
}

function podOf(value: Record<string, unknown>): Pod {
  const inner = (map: unknown, name: string) => (map as Record<string, unknown>)[name];
  if (value['kind'] === 'Pod') return value as never;
  const spec = value['kind'] === 'CronJob' ? inner(inner(value['spec'], 'jobTemplate'), 'spec') : value['spec'];
  return inner(spec, 'template') as Pod;
}
