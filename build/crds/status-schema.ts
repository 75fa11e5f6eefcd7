import type { StructuralSchema } from './structural-schema.ts';

const moment: StructuralSchema = { type: 'string', format: 'date-time', maxLength: 32 };
const generation: StructuralSchema = { type: 'integer', format: 'int64', minimum: 0 };

/** As `Condition` of meta.k8s.io/v1. */
const condition: StructuralSchema = {
  type: 'object',
  required: ['type', 'status', 'reason', 'message', 'lastTransitionTime'],
  properties: {
    type: {
      description: 'What is said: Accepted or Programmed.',
      type: 'string',
      pattern: '^[A-Z][A-Za-z]*$',
      maxLength: 64,
    },
    status: { description: 'Whether it holds.', type: 'string', enum: ['True', 'False', 'Unknown'] },
    reason: { description: 'Why, in one word.', type: 'string', pattern: '^[A-Z][A-Za-z]*$', maxLength: 128 },
    message: { description: 'Why, in a sentence.', type: 'string', maxLength: 4096 },
    lastTransitionTime: { description: 'When `status` became what it is.', ...moment },
    observedGeneration: { description: 'The generation of the object that is meant.', ...generation },
  },
};

const problem: StructuralSchema = {
  type: 'object',
  required: ['message'],
  properties: {
    field: { description: 'Where, such as spec.allow[0].port.', type: 'string', maxLength: 512 },
    message: { description: 'What is wrong.', type: 'string', maxLength: 1024 },
  },
};

const count = (description: string): StructuralSchema => ({
  description,
  type: 'integer',
  format: 'int64',
  minimum: 0,
});

const whatBothSay: Readonly<Record<string, StructuralSchema>> = {
  observedGeneration: { description: 'The generation of the object that this is about.', ...generation },
  policyVersion: {
    description: 'Version of the policy of the cell that holds the object, as decision records name it.',
    type: 'string',
    maxLength: 64,
  },
  conditions: {
    description: 'Accepted: the object is in force. Programmed: whoever it is for has taken it up.',
    type: 'array',
    maxItems: 8,
    'x-kubernetes-list-type': 'map',
    'x-kubernetes-list-map-keys': ['type'],
    items: condition,
  },
  accepted: {
    description: 'The form that was accepted last: it stays in force while a newer one is not accepted.',
    type: 'object',
    required: ['generation', 'spec'],
    properties: {
      generation: { description: 'Its generation.', ...generation },
      spec: {
        description: 'Its spec: JSON, compressed (RFC 1951), in base64.',
        type: 'string',
        maxLength: 1_048_576,
      },
    },
  },
  problems: {
    description: 'What is wrong with the object, by itself or beside the others.',
    type: 'array',
    maxItems: 100,
    'x-kubernetes-list-type': 'atomic',
    items: problem,
  },
};

export const servicePolicyStatus: StructuralSchema = {
  description: 'What became of it; written by the control plane.',
  type: 'object',
  properties: {
    ...whatBothSay,
    pods: {
      description: 'Pods of the service, by their sidecars.',
      type: 'object',
      properties: {
        total: count('How many there are.'),
        programmed: count('How many of them have taken up this generation.'),
      },
    },
    withdrawn: {
      description: 'Of a candidate that denied more than it may: it is in force nowhere.',
      type: 'object',
      required: ['version', 'at'],
      properties: {
        version: { description: 'Version of the candidate.', type: 'string', maxLength: 64 },
        at: { description: 'When that was.', ...moment },
      },
    },
  },
};

export const cellStatus: StructuralSchema = {
  description: 'What became of it; written by the control plane.',
  type: 'object',
  properties: { ...whatBothSay, policies: count('How many ServicePolicies are in force.') },
};
