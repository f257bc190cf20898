/// Carries out removals and says each, or only says what would be removed.
struct Removal {
  private let isDry: Bool
  private let report: Report
  /// Things removed, or that would be.
  private(set) var count = 0
  /// Things that could not be looked at or removed.
  private(set) var failures = 0

  init(isDry: Bool, _ report: Report) {
    self.isDry = isDry
    self.report = report
  }

  /// Removes one thing. A failure is told and holds nothing else up.
  mutating func remove(_ what: String, _ body: () throws -> Void) {
    do {
      if !isDry { try body() }
      count += 1
      report.say("\(isDry ? "would remove" : "removed") \(what)")
    } catch {
      fail("remove \(what)", error)
    }
  }

  /// Says that something stays, and why.
  func keep(_ what: String, _ why: String) { report.warn("kept \(what): \(why)") }

  /// Looks at something; a failure is told and holds nothing else up.
  mutating func look(at what: String, _ body: (inout Removal) throws -> Void) {
    do { try body(&self) } catch { fail("look at \(what)", error) }
  }

  private mutating func fail(_ what: String, _ error: any Error) {
    failures += 1
    report.warn("cannot \(what): \(error)")
  }
}
