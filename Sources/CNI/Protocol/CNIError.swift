import JSON
import Syscalls

/// The error document of a plugin (CNI specification §2 "Error", contract cni §A1).
public struct CNIError: Error, Hashable, Sendable, CustomStringConvertible {
  /// What went wrong, for programs.
  public struct Code: RawRepresentable, Hashable, Sendable {
    /// The number, as in `code` of the document.
    public let rawValue: Int
    /// Takes any number, also one that has no name here.
    public init(rawValue: Int) { self.rawValue = rawValue }
    /// Takes any number. The specification leaves 100 and above to the plugins.
    public init(_ rawValue: Int) { self.rawValue = rawValue }

    /// The plugin does not speak the configuration's `cniVersion`.
    public static let incompatibleVersion = Code(1)
    /// The configuration asks for something that the plugin cannot do.
    public static let unsupportedField = Code(2)
    /// The container is unknown or gone: the runtime need not clean up.
    public static let unknownContainer = Code(3)
    /// A `CNI_` variable is missing or malformed.
    public static let invalidEnvironment = Code(4)
    /// A system call failed, mostly on a file.
    public static let ioFailure = Code(5)
    /// The input is not JSON, or a member is of the wrong kind.
    public static let decodingFailure = Code(6)
    /// The configuration can be read but makes no sense.
    public static let invalidConfiguration = Code(7)
    /// `CNI_NETNS` is no network namespace that may be used.
    public static let invalidNamespace = Code(8)
    /// A passing obstacle, such as no free address: the runtime may call again.
    public static let tryAgainLater = Code(11)
    /// STATUS: ADD would fail now.
    public static let notAvailable = Code(50)
    /// STATUS: ADD would fail now, and running containers may be cut off.
    public static let limitedConnectivity = Code(51)
    /// Any other error of the plugins.
    public static let other = Code(999)
  }

  /// What went wrong, for programs.
  public var code: Code
  /// What went wrong, for people; `msg` of the document.
  public var message: String
  /// More about it; left out of the document when empty.
  public var details: String
  /// True for an error made in this plugin from plain text: a caller may put its own words before it. An error that
  /// came from a delegate keeps its message as it is (contract cni §A1).
  public var isPlain: Bool

  /// A coded error, passed on unchanged by every caller.
  public init(_ code: Code, _ message: String, details: String = "") {
    self.code = code
    self.message = message
    self.details = details
    self.isPlain = false
  }

  /// An error in plain words; callers may prefix it.
  public static func plain(_ message: String, _ code: Code = .other) -> CNIError {
    var e = CNIError(code, message)
    e.isPlain = true
    return e
  }

  /// Code 4, passed on unchanged: a variable is missing or malformed.
  public static func environment(_ message: String, details: String = "") -> CNIError {
    CNIError(.invalidEnvironment, message, details: details)
  }
  /// Code 6, passed on unchanged: the input is not JSON, or a member is of the wrong kind.
  public static func decoding(_ message: String) -> CNIError { CNIError(.decodingFailure, message) }
  /// Code 7, passed on unchanged: the configuration can be read but makes no sense.
  public static func configuration(_ message: String, details: String = "") -> CNIError {
    CNIError(.invalidConfiguration, message, details: details)
  }
  /// Code 8, passed on unchanged: the container's namespace may not be used.
  public static func namespace(_ message: String) -> CNIError { CNIError(.invalidNamespace, message) }

  /// Any error as a document: coded ones stay, a failed system call is an I/O failure, the rest is 999.
  public init(_ error: any Error) {
    if let e = error as? CNIError {
      self = e
    } else if let e = error as? SystemError {
      self = .plain(e.description, .ioFailure)
    } else {
      self = .plain("\(error)")
    }
  }

  /// The error with `text` before its message, if it is a plain one (`text` brings its own `": "`).
  public func prefixed(_ text: String) -> CNIError {
    guard isPlain else { return self }
    var e = self
    e.message = text + message
    return e
  }

  /// Message and details, without the code.
  public var description: String { details.isEmpty ? message : "\(message); \(details)" }

  /// The document as printed: four spaces, keys code, msg, details; no final newline.
  public var document: [UInt8] {
    var o = JSONObject([("code", .integer(code.rawValue)), ("msg", .string(message))])
    if !details.isEmpty { o["details"] = .string(details) }
    return JSONValue.object(o).bytes(.cni)
  }

  /// Reads a document; nil when `json` is none. Missing members read as zero and empty, as in Go.
  init?(json: JSONValue) {
    guard let o = json.objectValue else { return nil }
    let code = o.field("code") ?? .integer(0)
    let message = o.field("msg") ?? ""
    let details = o.field("details") ?? ""
    guard let c = code.intValue, c >= 0, let m = message.stringValue, let d = details.stringValue else { return nil }
    self.init(Code(c), m, details: d)
  }
}
