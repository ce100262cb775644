export { maskSecrets, summary } from './masking.ts';
export type { PartError, Parts, Preview, RenderResult } from './render-batch.ts';
export { createRenderer, type Renderer, type RendererOptions, type RenderTemplate } from './renderer.ts';
export {
  createTemplate,
  deleteTemplate,
  getTemplate,
  type LoadedTemplate,
  listTemplates,
  listTemplateVersions,
  loadTemplate,
  readVersion,
  setActiveVersion,
  type Template,
  type TemplateContent,
  type TemplateSummary,
  type TemplateType,
  type TemplateVersion,
  templateExists,
  templateTypes,
  updateTemplate,
} from './template.ts';
export {
  checkEmailContent,
  checkSmsContent,
  checkTemplateName,
  compiledParts,
  partError,
  readDefaults,
  templateParts,
} from './template-content.ts';
export type { Defaults, RenderInput } from './variables.ts';
