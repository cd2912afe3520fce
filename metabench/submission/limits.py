"""What a submission's process may use."""

from __future__ import annotations

import resource

from pydantic import BaseModel, ConfigDict, Field

MIB = 2**20


class Limits(BaseModel):
    """Of one worker process. Whoever passes one is killed, with everything it started."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start_seconds: float = Field(default=60.0, gt=0, description="to start and import, wall clock")
    call_seconds: float = Field(default=120.0, gt=0, description="one answer, wall clock")
    cpu_seconds: int = Field(default=7200, gt=0, description="processor time in all")
    memory: int = Field(default=8192 * MIB, gt=0, description="bytes of address space a process")
    resident: int = Field(default=4096 * MIB, gt=0, description="bytes in memory, in all")
    scratch: int = Field(default=256 * MIB, gt=0, description="bytes of its temporary folder")
    processes: int = Field(default=64, gt=0, description="at once, itself included")
    files: int = Field(default=256, gt=0, description="open at once")
    state: int = Field(default=1024 * MIB, gt=0, description="bytes of learned arrays")
    states: int = Field(default=4096, gt=0, description="adapted states held at once")
    output: int = Field(default=16 * MIB, gt=0, description="bytes printed")

    def apply(self, *, alone: bool) -> None:
        """To this process and those it starts. ``alone``: it has its user id to itself."""
        wanted = {
            resource.RLIMIT_AS: self.memory,
            resource.RLIMIT_CPU: self.cpu_seconds,
            resource.RLIMIT_FSIZE: self.scratch,
            resource.RLIMIT_NOFILE: self.files,
            resource.RLIMIT_CORE: 0,
        }
        if alone:
            wanted[resource.RLIMIT_NPROC] = self.processes
        for kind, value in wanted.items():
            hard = resource.getrlimit(kind)[1]
            most = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (most, most))
