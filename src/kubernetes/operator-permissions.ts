/** What a SubjectAccessReview asks about: a verb on a resource of our group, in no namespace. */
export interface AccessAttributes {
  readonly group: string;
  readonly resource: string;
  readonly verb: string;
}

const group = 'cellmesh.io';

/** `decisions.read` as Kubernetes has it: to `get` `decisions`. Other verbs are their own. */
export function accessAttributesOf(permission: string): AccessAttributes {
  const [resource = '', verb = ''] = permission.split('.');
  return { group, resource, verb: verb === 'read' ? 'get' : verb };
}

/** The rule of a ClusterRole (RBAC) that allows it, as YAML in one line. */
export function ruleText({ group, resource, verb }: AccessAttributes): string {
  return `{ apiGroups: [${group}], resources: [${resource}], verbs: [${verb}] }`;
}
