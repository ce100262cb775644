export {
  checkInAppContent,
  checkInAppForm,
  type InAppContent,
  inAppParts,
  withInAppParts,
} from './in-app-content.ts';
export { maskSecrets, summary } from './masking.ts';
export { previewTemplate } from './preview.ts';
export type { Preview, RenderResult } from './render-batch.ts';
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
  type TemplateType,
  templateExists,
  templateTypes,
  updateTemplate,
} from './template.ts';
export { checkTemplateContent } from './template-content.ts';
export type { RenderInput } from './variables.ts';
