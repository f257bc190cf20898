/// A failure of installing or uninstalling: what could not be done, on what and why, and what to do about it.
public struct InstallError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The failure in one sentence, in lower case.
  public var reason: String
  /// What the user can do; may be empty.
  public var advice: String

  /// The advice may be left out.
  public init(_ reason: String, advice: String = "") {
    self.reason = reason
    self.advice = advice
  }

  /// Reason — advice.
  public var description: String { advice.isEmpty ? reason : "\(reason) — \(advice)" }
}

/// Where an installation says what it does, a line each.
public struct Report {
  /// What was done.
  public var say: (String) -> Void
  /// What was not done, and why.
  public var warn: (String) -> Void

  /// - Parameters:
  ///   - say: takes what was done.
  ///   - warn: takes what was not done, and why.
  public init(say: @escaping (String) -> Void, warn: @escaping (String) -> Void) {
    self.say = say
    self.warn = warn
  }
}
