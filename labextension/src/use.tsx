import * as React from 'react';

import { IUse } from './messages';
import { size, trimmed } from './words';

/** What the job uses, as meters. */
export function Use({ use }: { use: IUse }): JSX.Element | null {
  const { memory, cpu, gpus } = use;
  if (!memory && !cpu && !gpus.length) {
    return null;
  }
  return (
    <section aria-label="Use">
      <h2>Use</h2>
      {memory && (
        <Meter
          label="Memory"
          value={memory.used}
          limit={memory.limit}
          scarce
          text={memory.limit ? `${size(memory.used)} of ${size(memory.limit)}` : size(memory.used)}
        />
      )}
      {cpu && (
        <Meter
          label="CPU"
          value={cpu.used}
          limit={cpu.of}
          text={`${trimmed(cpu.used)} of ${trimmed(cpu.of)} ${cpu.of === 1 ? 'core' : 'cores'}`}
        />
      )}
      {gpus.map((gpu, index) => {
        const name = gpus.length > 1 ? `GPU ${index}` : 'GPU';
        return (
          <React.Fragment key={index}>
            {gpu.used !== null && (
              <Meter
                label={name}
                hint={gpu.name}
                value={gpu.used}
                limit={100}
                text={`${Math.round(gpu.used)} %`}
              />
            )}
            <Meter
              label={`${name} memory`}
              hint={gpu.name}
              value={gpu.memory}
              limit={gpu.limit}
              scarce
              text={`${size(gpu.memory)} of ${size(gpu.limit)}`}
            />
          </React.Fragment>
        );
      })}
    </section>
  );
}

interface IMeter {
  label: string;
  /** What a pointer learns of it besides. */
  hint?: string;
  value: number;
  /** The most it may be; without it there is no bar. */
  limit: number | null;
  /** Whether programs fail without more of it. */
  scarce?: boolean;
  text: string;
}

function Meter({ label, hint, value, limit, scarce, text }: IMeter): JSX.Element {
  const share = limit ? Math.min(1, Math.max(0, value / limit)) : 0;
  const level = !scarce || share < 0.85 ? '' : share < 0.95 ? 'warn' : 'error';
  return (
    <div className="jp-Session-use" title={hint}>
      <span>{label}</span>
      <span>{text}</span>
      {limit !== null && (
        <div
          role="meter"
          aria-label={label}
          aria-valuemin={0}
          aria-valuemax={100}
          aria-valuenow={Math.round(share * 100)}
          aria-valuetext={text}
          data-level={level}
        >
          <div style={{ width: `${share * 100}%` }} />
        </div>
      )}
    </div>
  );
}
