import Reconciler
import Testing

@Suite struct ScheduleTests {
  @Test func isDueAtOnceAndAfterAChange() {
    var s = Schedule(resync: 1000)
    #expect(s.isDue(now: 5))
    s.finished(began: 5, ended: 5, succeeded: true)
    #expect(!s.isDue(now: 6))
    #expect(s.deadline(now: 6) == 1005)
    s.changed()
    #expect(s.isDue(now: 6))
  }

  @Test func aLongPassIsFollowedByAPause() {
    var s = Schedule()
    s.finished(began: 100, ended: 150, succeeded: true)
    s.changed()
    #expect(!s.isDue(now: 199))
    #expect(s.isDue(now: 200))
    s.finished(began: 0, ended: 10_000_000_000, succeeded: true)
    s.changed()
    #expect(s.deadline(now: 10_000_000_000) == 10_000_000_000 + Schedule.longestPause)
  }

  @Test func failuresBackOffAndSuccessResets() {
    var s = Schedule()
    var now: Int64 = 0
    var delays: [Int64] = []
    for _ in 0..<8 {
      s.finished(began: now, ended: now, succeeded: false)
      delays.append(s.deadline(now: now) - now)
      now = s.deadline(now: now)
      #expect(s.isDue(now: now))
    }
    #expect(delays.map { $0 / 100_000_000 } == [1, 2, 4, 8, 16, 32, 50, 50])
    s.finished(began: now, ended: now, succeeded: true)
    s.finished(began: now, ended: now, succeeded: false)
    #expect(s.deadline(now: now) - now == Schedule.firstRetry)
  }

  @Test func aChangeDuringBackOffIsAnsweredAtOnce() {
    var s = Schedule()
    s.finished(began: 0, ended: 0, succeeded: false)
    #expect(!s.isDue(now: 1))
    s.changed()
    #expect(s.isDue(now: 1))
  }
}
