DROP TABLE projector;
