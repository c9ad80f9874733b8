import type { Control } from './control.js';
import type { PgStatement, Session } from './session.js';
import type { QueryResult } from './shapes.js';

const COMMIT: Control = { kind: 'commit', isChained: false };
const ROLLBACK: Control = { kind: 'rollback', isChained: false };

/**
 * The statements of one text, as PostgreSQL's simple protocol runs them: what stands outside of BEGIN and COMMIT is a transaction of its
 * own up to the next COMMIT or the end of the text, and a BEGIN behind such statements takes them into its block.
 */
export class Script {
  /** True in a transaction that the text has, and that no BEGIN has opened. */
  private isImplicit = false;

  constructor(private readonly session: Session, private readonly control: (control: Control) => Promise<QueryResult>) {}

  async run(steps: readonly (PgStatement | Control)[]): Promise<QueryResult[]> {
    const results: QueryResult[] = [];
    try {
      for (const step of steps) results.push(await ('kind' in step ? this.controlled(step) : this.statement(step)));
      if (this.isImplicit) await this.session.control(COMMIT);
      return results;
    } catch (error) {
      if (this.isImplicit && this.session.isInTransaction) await this.session.control(ROLLBACK).catch(() => {});
      throw error;
    }
  }

  private async statement(statement: PgStatement): Promise<QueryResult> {
    if (!this.session.isInTransaction) {
      await this.session.control({ kind: 'begin', modes: {}, command: 'BEGIN' });
      this.isImplicit = true;
    }
    return this.session.run(statement);
  }

  private async controlled(control: Control): Promise<QueryResult> {
    if (this.isImplicit) this.check(control);
    const result = await this.control(control);
    if (control.kind === 'begin' || control.kind === 'commit' || control.kind === 'rollback') this.isImplicit = false;
    return result;
  }

  private check(control: Control): void {
    const isOfBlock = control.kind === 'savepoint' || control.kind === 'release' || control.kind === 'rollbackTo'
      || ((control.kind === 'commit' || control.kind === 'rollback') && control.isChained);
    if (isOfBlock) throw new Error('SAVEPOINT, RELEASE, ROLLBACK TO and AND CHAIN can only be used in transaction blocks: write BEGIN before them');
    if (control.kind === 'begin' && Object.keys(control.modes).length > 0) {
      throw new Error('the modes of a transaction must be set before any query: write BEGIN as the first statement of the text');
    }
  }
}
