/// Text in columns, each as wide as its widest cell.
public struct Table: Hashable, Sendable {
  /// Where the text of a column stands.
  public enum Alignment: Hashable, Sendable { case left, right }

  /// Titles of the columns.
  public var header: [String]
  /// The cells; a short row leaves cells empty.
  public var rows: [[String]]
  /// Alignment by column; left where none is given.
  public var alignments: [Alignment]

  /// Columns without an alignment stand left.
  public init(_ header: [String], rows: [[String]] = [], alignments: [Alignment] = []) {
    self.header = header
    self.rows = rows
    self.alignments = alignments
  }

  /// Number of characters a cell takes on a terminal.
  private static func width(_ s: String) -> Int { s.count }

  /// The lines, without blanks at their ends. `paint` colours a cell after it was laid out; row -1 is the header.
  public func lines(paint: (_ row: Int, _ column: Int, _ text: String) -> String = { $2 }) -> [String] {
    let all = [header] + rows
    let columns = all.map(\.count).max() ?? 0
    let widths = (0..<columns).map { c in all.map { c < $0.count ? Self.width($0[c]) : 0 }.max() ?? 0 }
    return all.enumerated().map { r, row in
      var line = ""
      var pending = 0
      for c in 0..<columns {
        let cell = c < row.count ? row[c] : ""
        let gap = widths[c] - Self.width(cell)
        let right = c < alignments.count && alignments[c] == .right
        if right { pending += gap }
        if !cell.isEmpty {
          line += String(repeating: " ", count: pending) + paint(r - 1, c, cell)
          pending = 0
        }
        pending += (right ? 0 : gap) + 2
      }
      return line
    }
  }
}

/// Colours for a terminal; all texts are left alone when `isOn` is false.
public struct Palette: Hashable, Sendable {
  /// Whether colours are used.
  public var isOn: Bool
  /// Colours or none.
  public init(isOn: Bool) { self.isOn = isOn }

  /// Titles.
  public func bold(_ s: String) -> String { wrap(s, "1") }
  /// Things of less importance.
  public func dim(_ s: String) -> String { wrap(s, "2") }
  /// Good news.
  public func good(_ s: String) -> String { wrap(s, "32") }
  /// Bad news.
  public func bad(_ s: String) -> String { wrap(s, "31") }

  private func wrap(_ s: String, _ code: String) -> String { isOn ? "\u{1b}[\(code)m\(s)\u{1b}[0m" : s }
}
