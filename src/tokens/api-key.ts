import { createHmac } from 'node:crypto';
import { CellmeshError } from '#runtime/errors.ts';
import type { Random } from '#runtime/random.ts';
import { equalInConstantTime, Secret } from '#runtime/secret.ts';

/**
 * An API key's secret: `cmk1_<locator>_<random><tag>`. The locator finds the key's record and is public; the random part has 256 bits; the tag
 * is keyed, so that whoever holds the tag key tells a forgery from a key in microseconds, without a look-up (IDENTITY Q3). Knowing
 * the tag key does not help to find a secret. The form is fixed and has a prefix, for secret scanners:
 * `cmk1_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}`.
 */
interface ApiKeySecret {
  readonly locator: string;
  readonly secret: Secret<string>;
}

const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const locatorLength = 12;
const randomLength = 43;
const tagLength = 6;
const prefix = 'cmk1_';
const pattern = /^cmk1_([0-9A-Za-z]{12})_([0-9A-Za-z]{43})([0-9A-Za-z]{6})$/;
/** 62 * 4 values of a byte come out even; the rest would favour the first digits. */
const byteLimit = 248;

export function generateApiKey(tagKey: Secret<Buffer>, random: Random): ApiKeySecret {
  const locator = randomDigits(locatorLength, random);
  const body = randomDigits(randomLength, random);
  return { locator, secret: new Secret(`${prefix}${locator}_${body}${tagOf(tagKey, locator, body)}`) };
}

/**
 * Reads a secret and checks its tag: what passes was most likely made by us (a guess passes once in 2^32).
 * @throws CellmeshError `api_key_invalid`, the same for every defect, without the secret
 */
export function parseApiKey(text: string, tagKey: Secret<Buffer>): ApiKeySecret {
  const match = pattern.exec(text);
  const [, locator, body, tag] = match ?? [];
  if (locator === undefined || !equalInConstantTime(Buffer.from(tag!), Buffer.from(tagOf(tagKey, locator, body!)))) {
    throw new CellmeshError('api_key_invalid', 'this is no API key');
  }
  return { locator, secret: new Secret(text) };
}

function tagOf(tagKey: Secret<Buffer>, locator: string, body: string): string {
  let value = createHmac('sha256', tagKey.reveal()).update(`v1|${locator}|${body}`).digest().readUInt32BE();
  let tag = '';
  for (let index = 0; index < tagLength; index++) {
    tag = digits[value % 62]! + tag;
    value = Math.floor(value / 62);
  }
  return tag;
}

function randomDigits(length: number, random: Random): string {
  let text = '';
  while (text.length < length) {
    for (const byte of random.bytes(length)) if (byte < byteLimit && text.length < length) text += digits[byte % 62]!;
  }
  return text;
}
