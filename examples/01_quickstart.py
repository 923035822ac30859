"""The core without any framework: store, search, filter, update, delete, open again.

Needs: pip install m2m-rag
"""

from tempfile import TemporaryDirectory

from m2m_rag import Database
from m2m_rag.text import HashingEmbedder  # words, not meaning: no download

NOTES = {
    "tea": ("Green tea is brewed at 80 degrees.", {"topic": "kitchen", "year": 2021}),
    "bread": ("Sourdough bread rises for twelve hours.", {"topic": "kitchen", "year": 2023}),
    "tyres": ("Bicycle tyres need four bars of pressure.", {"topic": "garage", "year": 2022}),
}


def main() -> None:
    """Run the example."""
    embedder = HashingEmbedder()
    with TemporaryDirectory() as folder:
        with Database(folder) as database:
            notes = database.create("notes", dimension=embedder.dimension)
            texts = [text for text, _ in NOTES.values()]
            notes.add(
                embedder.embed_documents(texts),
                ids=list(NOTES),
                texts=texts,
                metadatas=[metadata for _, metadata in NOTES.values()],
            )  # on disk when it returns

            query = embedder.embed_query("how long does bread rise")
            for hit in notes.search(query, k=2):
                print(f"{hit.score:.3f}  {hit.id:6} {hit.text}")

            recent = {"topic": "kitchen", "year": {"$gte": 2022}}
            print("kitchen since 2022:", [hit.id for hit in notes.search(query, where=recent)])

            notes.update(["tea"], [{"year": 2024}])  # metadata alone
            notes.delete(where={"topic": "garage"})

        with Database(folder) as database:  # from disk
            notes = database.open("notes")
            print("left:", {record.id: record.metadata["year"] for record in notes})


if __name__ == "__main__":
    main()
