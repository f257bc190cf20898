/// A failure of a lab command: what could not be done, on what and why, and what to do about it.
public struct LabError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The failure in one sentence, in lower case.
  public var reason: String
  /// What the user can do; may be empty.
  public var advice: String
  /// Supporting lines, for instance the end of a log.
  public var details: [String]

  /// Advice and details may be left out.
  public init(_ reason: String, advice: String = "", details: [String] = []) {
    self.reason = reason
    self.advice = advice
    self.details = details
  }

  /// Reason — advice, then the details, one a line.
  public var description: String {
    ([advice.isEmpty ? reason : "\(reason) — \(advice)"] + details.map { "  \($0)" }).joined(separator: "\n")
  }

  /// Runs a step and names it in the error if it fails.
  static func step<R>(_ step: @autoclosure () -> String, _ body: () throws -> R) throws -> R {
    do {
      return try body()
    } catch let error as LabError {
      throw LabError("\(step()): \(error.reason)", advice: error.advice, details: error.details)
    } catch {
      throw LabError("\(step()): \(error)")
    }
  }
}
