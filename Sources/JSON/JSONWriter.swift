extension JSONValue {
  /// How a document is laid out.
  public struct Style: Sendable {
    /// Spaces per level; nil = everything on one line without spaces.
    public var indent: Int?
    /// Members in byte order of their names, as Go writes maps.
    public var sorted: Bool

    /// By default everything on one line, order kept.
    public init(indent: Int? = nil, sorted: Bool = false) {
      self.indent = indent
      self.sorted = sorted
    }
    /// One line, order kept.
    public static let compact = Style()
    /// One line, names sorted.
    public static let sorted = Style(sorted: true)
    /// Four spaces a level, order kept: what CNI plugins print.
    public static let cni = Style(indent: 4)
    /// Two spaces a level.
    public static let pretty = Style(indent: 2)
  }

  /// The document as UTF-8, without a final newline. Characters are escaped as Go's encoder does, but `<`, `>` and `&`
  /// are left as they are.
  public func bytes(_ style: Style = .compact) -> [UInt8] {
    var out: [UInt8] = []
    write(style, 0, &out)
    return out
  }

  /// The document as text.
  public func text(_ style: Style = .compact) -> String { String(decoding: bytes(style), as: UTF8.self) }

  private func write(_ style: Style, _ level: Int, _ out: inout [UInt8]) {
    func newline(_ level: Int) {
      guard let n = style.indent else { return }
      out.append(0x0a)
      out.append(contentsOf: repeatElement(0x20, count: n * level))
    }
    switch self {
    case .null: out.append(contentsOf: "null".utf8)
    case .bool(let b): out.append(contentsOf: (b ? "true" : "false").utf8)
    case .number(let n): out.append(contentsOf: n.utf8)
    case .string(let s): Self.quote(s, &out)
    case .array(let a):
      out.append(UInt8(ascii: "["))
      for (i, v) in a.enumerated() {
        if i > 0 { out.append(UInt8(ascii: ",")) }
        newline(level + 1)
        v.write(style, level + 1, &out)
      }
      if !a.isEmpty { newline(level) }
      out.append(UInt8(ascii: "]"))
    case .object(let o):
      out.append(UInt8(ascii: "{"))
      let members = style.sorted ? o.members.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) } : o.members
      for (i, m) in members.enumerated() {
        if i > 0 { out.append(UInt8(ascii: ",")) }
        newline(level + 1)
        Self.quote(m.name, &out)
        out.append(UInt8(ascii: ":"))
        if style.indent != nil { out.append(0x20) }
        m.value.write(style, level + 1, &out)
      }
      if !o.isEmpty { newline(level) }
      out.append(UInt8(ascii: "}"))
    }
  }

  private static func quote(_ s: String, _ out: inout [UInt8]) {
    out.append(UInt8(ascii: "\""))
    for c in s.utf8 {
      switch c {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"):
        out.append(UInt8(ascii: "\\"))
        out.append(c)
      case 0x0a: out.append(contentsOf: "\\n".utf8)
      case 0x0d: out.append(contentsOf: "\\r".utf8)
      case 0x09: out.append(contentsOf: "\\t".utf8)
      case 0..<0x20:
        let hex = String(c, radix: 16)
        out.append(contentsOf: ("\\u" + String(repeating: "0", count: 4 - hex.utf8.count) + hex).utf8)
      default: out.append(c)
      }
    }
    out.append(UInt8(ascii: "\""))
  }
}
