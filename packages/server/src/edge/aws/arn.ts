/** ARNs as Pinpoint writes them: `arn:aws:mobiletargeting:us-east-1:000000000000:apps/{app}/campaigns/{campaign}`. */
export interface ArnScope {
  region: string;
  accountId: string;
}

/** @param resource what stands after the account: `apps/x`, `templates/x/EMAIL`. */
export function arn(scope: ArnScope, resource: string): string {
  return `arn:aws:mobiletargeting:${scope.region}:${scope.accountId}:${resource}`;
}

/** What an ARN names. */
export interface ArnResource {
  kind: 'apps' | 'campaigns' | 'segments' | 'journeys' | 'templates' | 'recommenders';
  /** The application that it belongs to, or is; undefined for templates and recommenders. */
  applicationId: string | undefined;
  /** The id within its kind; the name of a template. */
  id: string;
  /** `EMAIL`, `SMS` …: only of a template. */
  templateType: string | undefined;
}

/** Undefined when `text` is no ARN of this server: other region, account, service or kind. */
export function parseArn(scope: ArnScope, text: string): ArnResource | undefined {
  const prefix = arn(scope, '');
  if (!text.startsWith(prefix)) return undefined;
  const parts = text.slice(prefix.length).split('/');
  if (parts.includes('')) return undefined;
  const [root, first, second, third] = parts as [string, ...string[]];
  const none = { applicationId: undefined, templateType: undefined };
  switch (`${root} ${parts.length}`) {
    case 'apps 2':
      return { ...none, kind: 'apps', applicationId: first, id: first! };
    case 'apps 4':
      if (second !== 'campaigns' && second !== 'segments' && second !== 'journeys') return undefined;
      return { ...none, kind: second, applicationId: first, id: third! };
    case 'templates 3':
      return { ...none, kind: 'templates', id: first!, templateType: second };
    case 'recommenders 2':
      return { ...none, kind: 'recommenders', id: first! };
    default:
      return undefined;
  }
}
