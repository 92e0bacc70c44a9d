"""The watcher: tells people of deadlines that pass. It only tells them sooner: every deadline is judged without it.

Each sweep finds the deadlines of its partitions that have passed (:mod:`consumers.alerts.sweep`) and keeps an alert for
each, under one id for ever, in the index's database (:mod:`consumers.alerts.store`). From there each is delivered to
``TOPIC.alerts`` and to every webhook, at least once (:mod:`consumers.alerts.delivery`). Nothing is kept in memory that
counts: a watcher may be killed at any moment, and several may watch at once.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence, Set
from datetime import datetime, timedelta

from consumers.alerts.addresses import webhook_secrets, webhook_urls
from consumers.alerts.delivery import Couriers, Target
from consumers.alerts.store import AlertStore
from consumers.alerts.sweep import Clock, Sweep, our_clock
from consumers.alerts.webhook import Webhook
from consumers.settings import Ledger, Settings
from ledger.logs.address import KafkaAddress, log_address

SWEEP_SECONDS = 1.0
_IDLE_SECONDS = 0.2


class Watcher:
    """Watches one ledger, which it closes. See :class:`consumers.jobs.Job`.

    ``counts`` is how many deadlines were found passed here, by kind; ``deliveries`` what became of tries, by target
    and ``delivered``, ``failed`` or ``dead``; ``swept_at`` when a sweep last left nothing behind, by our clock.
    """

    def __init__(
        self, ledger: Ledger, targets: Sequence[Target], *, grace: timedelta, clock: Clock = our_clock
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.swept_at: datetime | None = None
        self.store = AlertStore(ledger.index)
        self._ledger = ledger
        self._clock = clock
        self._sweep = Sweep(ledger, self.store, grace=grace, clock=clock)
        self._couriers = Couriers(self.store, targets, clock)
        self._partitions: frozenset[int] = frozenset()
        self._next_sweep = 0.0

    @property
    def deliveries(self) -> Counter[tuple[str, str]]:
        return self._couriers.counts

    def take(self, partitions: Set[int]) -> None:
        self._partitions = frozenset(partitions)
        self._next_sweep = 0.0
        self._sweep.look_at_all()

    def step(self) -> int:
        """Deliver what is due, and sweep once a second. Deliveries go on while the log is away."""
        done = self._couriers.send(self._partitions)
        if self._partitions and time.monotonic() >= self._next_sweep:
            done += self._swept()
        if not done:
            self._couriers.wait(_IDLE_SECONDS)
        return done

    def _swept(self) -> int:
        self._next_sweep = time.monotonic() + SWEEP_SECONDS
        began = self._clock()
        found = self._sweep.run(self._partitions, self._couriers.names)
        self.counts.update(alert.kind for alert in found.alerts)
        if found.complete:
            self.swept_at = began
        elif found.alerts:
            self._next_sweep = 0.0
        return len(found.alerts)

    def close(self) -> None:
        try:
            self._couriers.close()
        finally:
            self._ledger.close()


def open_job(settings: Settings) -> Watcher:
    """Open the ledger and what alerts are sent to. Raises ``WrongUsage`` for settings that can't be meant."""
    secrets = webhook_secrets(settings.webhook_secret.get_secret_value())
    targets: list[Target] = [Webhook(url, secrets) for url in webhook_urls(settings.webhooks)]
    ledger = settings.open()
    try:
        address = log_address(settings.log_url)
        if isinstance(address, KafkaAddress):
            from consumers.alerts.topic import AlertTopic

            targets.append(AlertTopic(address, ledger.log.partitions, security=settings.kafka_security))
        return Watcher(ledger, targets, grace=timedelta(seconds=settings.alert_grace_seconds))
    except BaseException:
        for target in targets:
            target.close()
        ledger.close()
        raise
