import { JupyterFrontEnd } from '@jupyterlab/application';
import { IDocumentManager } from '@jupyterlab/docmanager';
import { DocumentRegistry } from '@jupyterlab/docregistry';
import { Contents, ServerConnection } from '@jupyterlab/services';

/** Milliseconds for saving: the server waits for 5 seconds. */
const LATEST = 4500;

const AREAS = ['main', 'left', 'right', 'down'];

/** The open documents. */
export class Documents {
  constructor(
    private readonly shell: JupyterFrontEnd.IShell,
    private readonly manager: IDocumentManager
  ) {}

  /** Those that are not saved. */
  get unsaved(): DocumentRegistry.Context[] {
    const found = new Set<DocumentRegistry.Context>();
    for (const area of AREAS) {
      for (const widget of this.shell.widgets(area)) {
        const context = this.manager.contextForWidget(widget);
        if (context?.model.dirty && !context.model.collaborative) {
          found.add(context as DocumentRegistry.Context);
        }
      }
    }
    return [...found];
  }

  /** Save all of them without asking anything; return the paths of those that could not be saved in time. */
  async save(): Promise<string[]> {
    const documents = this.unsaved;
    const saved = new Set<DocumentRegistry.Context>();
    const saving = documents.map(async document => {
      if (await this.saveOne(document).catch(() => false)) {
        saved.add(document);
      }
    });
    await Promise.race([Promise.all(saving), new Promise(late => setTimeout(late, LATEST))]);
    return documents.filter(each => !saved.has(each)).map(each => each.localPath);
  }

  /** Whether JupyterLab saves by itself: only while somebody is there to take it. */
  set autosave(on: boolean) {
    if (on) {
      this.manager.autosave = this.wished;
    } else {
      this.wished = this.manager.autosave;
      this.manager.autosave = false;
    }
  }

  private async saveOne(document: DocumentRegistry.Context): Promise<boolean> {
    if (!document.contentsModel?.writable || (await this.changedMeanwhile(document))) {
      return false;
    }
    await document.save();
    return true;
  }

  /** Whether the file is another one than was opened: JupyterLab would ask what to do. */
  private async changedMeanwhile(document: DocumentRegistry.Context): Promise<boolean> {
    const known = document.contentsModel;
    let found: Contents.IModel;
    try {
      found = await this.manager.services.contents.get(document.path, { content: false, hash: true });
    } catch (error) {
      if (error instanceof ServerConnection.ResponseError && error.response.status === 404) {
        return false;
      }
      throw error;
    }
    if (known?.hash && found.hash) {
      return known.hash !== found.hash;
    }
    const since = Date.parse(found.last_modified) - Date.parse(known?.last_modified ?? found.last_modified);
    return since > this.manager.lastModifiedCheckMargin;
  }

  private wished = true;
}
