import Syscalls

/// How to reach an API server and who we are to it.
public struct ClusterAccess: Hashable, Sendable {
  /// Where the server is.
  public var server: ServerURL
  /// Whom to believe that it is the server.
  public var trust: Trust
  /// The name the server's certificate must have, instead of the host in the URL.
  public var serverName: String?
  /// Who we are.
  public var identity: Identity
  /// The namespace to use when none is named.
  public var namespace: String

  /// By default nobody, who trusts what the system trusts.
  public init(
    server: ServerURL, trust: Trust = .system, serverName: String? = nil, identity: Identity = Identity(),
    namespace: String = "default"
  ) {
    self.server = server
    self.trust = trust
    self.serverName = serverName
    self.identity = identity
    self.namespace = namespace
  }

  /// Whom to believe.
  public enum Trust: Hashable, Sendable {
    /// The system's authorities.
    case system
    /// These authorities and no others.
    case authorities(PEMSource)
    /// Anybody.
    case anybody
  }

  /// Who we are. A token and a certificate may be used together.
  public struct Identity: Hashable, Sendable {
    /// A bearer token that stays the same.
    public var token: String?
    /// A file with the bearer token, read again when it changes; comes before `token`.
    public var tokenFile: String?
    /// Certificate and private key for TLS.
    public var certificate: PEMSource?
    /// The key of the certificate.
    public var key: PEMSource?
    /// A program that gives us a token or a certificate.
    public var exec: ExecPlugin?

    /// Nobody.
    public init() {}
  }
}

/// Where PEM text is.
public enum PEMSource: Hashable, Sendable {
  case file(String)
  /// The text itself, and where it stood.
  case inline([UInt8], place: String)

  /// For messages.
  public var place: String {
    switch self {
    case .file(let path): path
    case .inline(_, let place): place
    }
  }

  /// The text; a file is read now.
  public func read() throws(AccessError) -> [UInt8] {
    switch self {
    case .inline(let bytes, _): return bytes
    case .file(let path):
      do { return try Files.read(path, limit: 4 << 20) } catch { throw AccessError(path, "", "\(error)") }
    }
  }
}

/// Why we do not know how to reach the API server, or who we are.
public struct AccessError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The file, or the environment.
  public let place: String
  /// The key in it; may be empty.
  public let key: String
  /// What is wrong, with the value where it is no secret, and what to do.
  public let reason: String

  /// Something is wrong with the whole of a place.
  public init(place: String, _ reason: String) { self.init(place, "", reason) }

  init(_ place: String, _ key: String, _ reason: String) {
    self.place = place
    self.key = key
    self.reason = reason
  }

  /// `PLACE: KEY: REASON`
  public var description: String { [place, key, reason].filter { !$0.isEmpty }.joined(separator: ": ") }
}

/// The address of an API server: `https://HOST[:PORT][/PATH]`.
public struct ServerURL: Hashable, Sendable, CustomStringConvertible {
  /// Whether it is `https`.
  public var isEncrypted: Bool
  /// A name, or an IP address without brackets.
  public var host: String
  /// 1…65535
  public var port: Int
  /// What comes before `/api`; without a final slash, often empty.
  public var path: String

  /// A URL by its parts.
  public init(isEncrypted: Bool, host: String, port: Int, path: String = "") {
    self.isEncrypted = isEncrypted
    self.host = host
    self.port = port
    self.path = path
  }

  /// The host as it stands in a URL, with the port unless it is the usual one.
  public var authority: String {
    let name = host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]" : host
    return port == (isEncrypted ? 443 : 80) ? name : "\(name):\(port)"
  }

  /// The URL.
  public var description: String { (isEncrypted ? "https://" : "http://") + authority + path }

  /// Parses a URL; without a scheme it is `http`, as the Go client has it.
  /// - Throws: the reason, for the end of a sentence.
  public init(parsing text: String) throws(ServerURLError) {
    var rest = Substring(text)
    isEncrypted = false
    if let scheme = Self.scheme(rest) {
      switch scheme.lowercased() {
      case "https": isEncrypted = true
      case "http": break
      default: throw ServerURLError(reason: "expected https://HOST:PORT, found the scheme \(scheme)")
      }
      rest = rest.dropFirst(scheme.count + 3)
    }
    for c in rest.utf8 where c <= 0x20 || c == 0x7f || c == UInt8(ascii: "?") || c == UInt8(ascii: "#") {
      throw ServerURLError(reason: "expected https://HOST:PORT without query, fragment or white space")
    }
    let authority = rest.prefix { $0 != "/" }
    path = String(rest.dropFirst(authority.count))
    while path.hasSuffix("/") { path.removeLast() }
    (host, port) = try Self.hostAndPort(authority, standard: isEncrypted ? 443 : 80)
  }

  private static func scheme(_ text: Substring) -> Substring? {
    let name = text.prefix { $0.isASCII && ($0.isLetter || $0.isNumber) }
    return !name.isEmpty && text.dropFirst(name.count).hasPrefix("://") ? name : nil
  }

  private static func hostAndPort(
    _ authority: Substring, standard: Int
  ) throws(ServerURLError) -> (String, Int) {
    guard !authority.utf8.contains(UInt8(ascii: "@")) else {
      throw ServerURLError(reason: "a user name in the URL is not supported")
    }
    var host = authority
    var port: Substring?
    if authority.hasPrefix("[") {
      host = authority.dropFirst().prefix { $0 != "]" }
      let rest = authority.dropFirst(host.count + 2)
      if rest.hasPrefix(":") { port = rest.dropFirst() }
      guard host.count + 2 <= authority.count, rest.isEmpty || port != nil else {
        throw ServerURLError(reason: "expected [IPV6]:PORT")
      }
    } else if let colon = authority.lastIndex(of: ":") {
      host = authority[..<colon]
      port = authority[authority.index(after: colon)...]
      guard !host.utf8.contains(UInt8(ascii: ":")) else {
        throw ServerURLError(reason: "an IPv6 address needs brackets: [\(authority)]")
      }
    }
    guard !host.isEmpty else { throw ServerURLError(reason: "there is no host in it") }
    guard let port else { return (String(host), standard) }
    guard let number = Int(port), (1...65535).contains(number) else {
      throw ServerURLError(reason: "\(port) is not a port, expected 1 to 65535")
    }
    return (String(host), number)
  }
}

/// Why a text is no URL of an API server.
public struct ServerURLError: Error, Hashable, Sendable {
  /// For the end of a sentence.
  public let reason: String
}
