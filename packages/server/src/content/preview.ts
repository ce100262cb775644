import type { Queryable } from '../platform/database.ts';
import { CallerError } from '../platform/errors.ts';
import type { Preview } from './render-batch.ts';
import type { Renderer } from './renderer.ts';
import { getTemplate, type TemplateType } from './template.ts';
import { allParts, readDefaults } from './template-content.ts';
import type { RenderInput } from './variables.ts';

/**
 * A stored template as one person would get it, with the variables that would keep it from being sent. Headers are the
 * parts `header:0`, `header:1` …
 * @throws CallerError not_found; bad_request when it cannot be rendered for this person.
 */
export async function previewTemplate(
  db: Queryable,
  renderer: Pick<Renderer, 'preview'>,
  template: { type: TemplateType; name: string; version?: number | 'latest' },
  input: RenderInput,
): Promise<Preview> {
  const { type, name, version } = template;
  const stored = await getTemplate(db, type, name, version);
  const preview = await renderer.preview(
    {
      key: `${type} ${name} ${stored.version}`,
      parts: allParts(stored.content),
      defaults: readDefaults(stored.content.DefaultSubstitutions),
    },
    input,
  );
  if ('error' in preview) throw new CallerError('bad_request', preview.error);
  return preview;
}
